const STEP_MS = 20

export interface Timed {
  readonly ms: number
  /** How late this process's own timers were meanwhile, all together: as late as anything on this machine. */
  readonly lateMs: number
}

/** For promises in seconds: what a busy machine is late with is not theirs. */
export async function timed(work: () => Promise<unknown>): Promise<Timed> {
  const begun = performance.now()
  let lateMs = 0
  let lastMs = begun
  const timer = setInterval(() => {
    const nowMs = performance.now()
    lateMs += Math.max(0, nowMs - lastMs - STEP_MS)
    lastMs = nowMs
  }, STEP_MS)
  try {
    await work()
  } finally {
    clearInterval(timer)
  }
  return { ms: performance.now() - begun, lateMs }
}
