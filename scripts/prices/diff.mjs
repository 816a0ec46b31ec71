/** What a new table changes: counts, and a line per model with another price. */
export function diff(before, after) {
  const old = new Map(before.map((row) => [`${row.provider} ${row.id}`, row]))
  const fresh = new Map(after.map((row) => [`${row.provider} ${row.id}`, row]))
  const changed = []
  for (const [key, row] of fresh) {
    const was = old.get(key)
    const [a, b] = [JSON.stringify(was?.periods), JSON.stringify(row.periods)]
    if (was !== undefined && a !== b) changed.push(`${key}\n  - ${a}\n  + ${b}`)
  }
  return {
    added: [...fresh.keys()].filter((key) => !old.has(key)).length,
    removed: [...old.keys()].filter((key) => !fresh.has(key)).length,
    changed,
  }
}
