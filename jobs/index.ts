import type { JobFactory } from '../pipeline/factory.ts'

/** One line per job. */
export const jobs: readonly JobFactory[] = []
