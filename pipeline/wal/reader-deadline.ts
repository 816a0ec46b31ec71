import { retry } from '../fault.ts'
import { sleep } from '../sleep.ts'

/**
 * Runs `work` with a signal that aborts with `parent` or after `ms`. By hand, since `AbortSignal.any` on a long-lived
 * signal leaks (nodejs/node#54614, #55351) and this is called for every range.
 */
export async function withDeadline<T>(
  parent: AbortSignal,
  ms: number,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController()
  const abort = () => controller.abort(parent.reason)
  const timer = setTimeout(() => controller.abort(), ms)
  parent.addEventListener('abort', abort)
  if (parent.aborted) abort()
  try {
    return await work(controller.signal)
  } finally {
    clearTimeout(timer)
    parent.removeEventListener('abort', abort)
  }
}

/** Aborts the controllers with `signal`; returns how to part them again. */
export function follow(signal: AbortSignal, ...controllers: AbortController[]): () => void {
  const abort = () => controllers.forEach((controller) => controller.abort(signal.reason))
  signal.addEventListener('abort', abort)
  if (signal.aborted) abort()
  return () => signal.removeEventListener('abort', abort)
}

/** What `work` comes to; undefined when `signal` aborts first, and then nobody waits for it. */
export async function unlessAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T | undefined> {
  work.catch(() => undefined)
  const settled = new AbortController()
  try {
    return await Promise.race([work, aborted(signal, settled.signal).then(() => undefined)])
  } finally {
    settled.abort()
  }
}

/** Whether `work` settles, either way, within `ms`. */
export async function settledWithin(ms: number, work: Promise<unknown>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), Math.min(ms, 2 ** 31 - 1))
  })
  const settled = work.then(
    () => true,
    () => true,
  )
  try {
    return await Promise.race([settled, late])
  } finally {
    clearTimeout(timer)
  }
}

const GRACE_MS = 5000

/**
 * Like `withDeadline`, for work of others: who does not end soon after the abort is left behind, and its result
 * counts as unknown.
 */
export function boundedBy<T>(
  parent: AbortSignal,
  ms: number,
  what: string,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  return withDeadline(parent, ms, async (signal) => {
    const running = work(signal)
    const settled = new AbortController()
    const leftBehind = async () => {
      await aborted(signal, settled.signal)
      await sleep(GRACE_MS, settled.signal)
      if (settled.signal.aborted) return
      throw retry('EXPORT_UNAVAILABLE', `${what} did not answer within ${ms} ms`)
    }
    try {
      return await Promise.race([running, leftBehind() as Promise<never>])
    } finally {
      settled.abort()
      running.catch(() => undefined)
    }
  })
}

/** Resolves when either signal aborts. */
function aborted(signal: AbortSignal, other: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      signal.removeEventListener('abort', done)
      other.removeEventListener('abort', done)
      resolve()
    }
    signal.addEventListener('abort', done)
    other.addEventListener('abort', done)
    if (signal.aborted || other.aborted) done()
  })
}
