/**
 * Waits until `work` has settled, either way, but not beyond the deadline or `ms`. (Not `AbortSignal.any` with `AbortSignal.timeout`: on Node 20
 * a composite signal that only a promise holds may be collected and then never fires.)
 */
export function within(deadline: AbortSignal, ms: number | undefined, work: Promise<unknown>): Promise<void> {
  return new Promise((resolve) => {
    const settle = () => {
      clearTimeout(timer)
      deadline.removeEventListener('abort', settle)
      resolve()
    }
    const timer = ms === undefined ? undefined : setTimeout(settle, ms)
    deadline.addEventListener('abort', settle, { once: true })
    if (deadline.aborted) settle()
    work.then(settle, settle)
  })
}
