import { setTimeout as delay } from 'node:timers/promises'

/** Only ends what hangs: a busy machine must not fail a test. */
const LIMIT_MS = 60_000

/** Asks again until true. Throws the last error, or that it never was, when the time is up. */
export async function until(ask: () => boolean | Promise<boolean>, limitMs = LIMIT_MS): Promise<void> {
  const endMs = performance.now() + limitMs
  let last: unknown = new Error('it did not come true')
  while (performance.now() < endMs) {
    try {
      if (await ask()) return
    } catch (error) {
      last = error
    }
    await delay(50)
  }
  throw last
}
