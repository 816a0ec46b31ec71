/** Only ends what hangs. */
const LIMIT_MS = 60_000

/** Asks again every few milliseconds; what the condition throws ends it at once. */
export async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  const end = performance.now() + LIMIT_MS
  while (!(await condition())) {
    if (performance.now() > end) throw new Error('waited in vain')
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}
