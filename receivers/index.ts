import type { ReceiverFactory } from '../pipeline/factory.ts'
import { jsonl } from './jsonl/factory.ts'
import { otlp } from './otlp/factory.ts'
import { toon } from './toon/factory.ts'

/** Every receiver that is built in: one line each. */
export const receivers: readonly ReceiverFactory[] = [otlp, toon, jsonl]
