import { setTimeout as delay } from 'node:timers/promises'

/** Waits `ms` or until `signal` aborts; never rejects. */
export async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await delay(ms, undefined, { signal })
  } catch {
    // Aborted: the caller looks at its signal.
  }
}
