import type { Batch } from '../../pipeline/batch/batch.ts'

/** By the time of receipt, not by the clock: a repeat of a frozen range must be the same rows (design law 5). */
export function dropExpired(batch: Batch, ttlMs: number): void {
  if (ttlMs === 0) return
  for (let row = 0; row < batch.rows; row++) if (isExpired(batch, row, ttlMs)) batch.drop(row, 'expired')
}

export function hasExpired(batch: Batch, ttlMs: number): boolean {
  if (ttlMs === 0) return false
  for (let row = 0; row < batch.rows; row++) if (isExpired(batch, row, ttlMs)) return true
  return false
}

function isExpired(batch: Batch, row: number, ttlMs: number): boolean {
  return batch.isLive(row) && batch.startMs(row) < batch.meta.receivedAtMs - ttlMs
}
