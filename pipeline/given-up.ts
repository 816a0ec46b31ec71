import { retry } from './fault.ts'

/** For who stops waiting: what the log has begun to write goes on. */
export function givenUp() {
  return retry(
    'CANCELLED',
    'the caller gave up; the write may still land, and a repeat is dropped as a duplicate',
  )
}

/** What `work` comes to, or `why` (CANCELLED) once `signal` aborts; the work goes on, and nobody hears of its failure. */
export async function orGivenUp<T>(
  signal: AbortSignal,
  work: Promise<T>,
  why: () => Error = givenUp,
): Promise<T> {
  let abort: (() => void) | undefined
  const gone = new Promise<never>((_, reject) => {
    abort = () => reject(why())
    if (signal.aborted) abort()
    else signal.addEventListener('abort', abort)
  })
  work.catch(() => undefined)
  try {
    return await Promise.race([work, gone])
  } finally {
    if (abort !== undefined) signal.removeEventListener('abort', abort)
  }
}
