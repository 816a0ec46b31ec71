import { setTimeout as delay } from 'node:timers/promises'

const DAY_MS = 86_400_000
/** Longer than the part of a test that stands or falls with the day. */
const NEEDED_MS = 60_000

/** Daily quotas begin anew at midnight UTC: waits for that when it is near. */
export async function awayFromMidnight(): Promise<void> {
  const leftMs = DAY_MS - (Date.now() % DAY_MS)
  if (leftMs < NEEDED_MS) await delay(leftMs)
}
