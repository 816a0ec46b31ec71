import { isCredible } from './corrections.mjs'

/** Prices do move by half; by more than this, one of the two is an error more often than not. */
const MAX_FACTOR = 4
const MAX_CHANGED = 0.25
const MAX_REMOVED = 0.05

/** Why a person should look before the table is written; none for a table of the beginning. */
export function doubts(before, { added, removed, changed }) {
  const found = []
  if (before.length === 0) return found
  for (const { key, rates } of changed) for (const rate of rates) found.push(...doubtOf(key, rate))
  for (const row of added)
    if (!isCredible(row)) found.push(`${row.provider} ${row.id} is dearer than any model there is`)
  if (changed.length > before.length * MAX_CHANGED)
    found.push(`${changed.length} of ${before.length} models have another price`)
  if (removed.length > before.length * MAX_REMOVED)
    found.push(`${removed.length} of ${before.length} models are gone`)
  return found
}

function doubtOf(key, [name, was, now]) {
  const [a, b] = [Number(was), Number(now)]
  if (was === undefined || Number.isNaN(a)) return []
  if (now === undefined)
    return name === 'input' || name === 'output' ? [`${key}: no ${name} price any more`] : []
  if (a > 0 && b === 0) return [`${key}: ${name} ${was} → 0`]
  if (a > 0 && (b / a > MAX_FACTOR || a / b > MAX_FACTOR)) return [`${key}: ${name} ${was} → ${now}`]
  return []
}
