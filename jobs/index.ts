import type { JobFactory } from '../pipeline/factory.ts'
import { replay } from './replay/factory.ts'

/** One line per job. */
export const jobs: readonly JobFactory[] = [replay]
