import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Entry } from '../admission.ts'
import { readBody } from './body.ts'
import { tooLarge } from './inflate.ts'
import type { Passage } from './passage.ts'

export interface ReceiveLimits {
  /** Of the body as sent. */
  readonly maxBytes: number
  readonly timeoutMs: number
}

/** Admission, and then the whole body as sent. What it takes of the daemon's memory is the passage's to give back. */
export async function receive(
  request: IncomingMessage,
  response: ServerResponse,
  passage: Passage,
  entry: Entry,
  limits: ReceiveLimits,
): Promise<Uint8Array> {
  const { declaredBytes } = passage.head
  if (declaredBytes !== undefined && declaredBytes > limits.maxBytes) throw tooLarge(limits.maxBytes)
  await passage.admit(entry)
  if (declaredBytes !== undefined) passage.take(declaredBytes)
  if (request.headers.expect !== undefined) response.writeContinue()
  const take = declaredBytes === undefined ? (bytes: number) => passage.take(bytes) : () => {}
  return readBody(request, { ...limits, take })
}
