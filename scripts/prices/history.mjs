// A collection without dates says what holds now. What the table had before stays true of the time before.

/**
 * The fresh models with the history of those that are in `before`; models that no source lists any more stay, for the
 * calls that were made with them. `restate`: what is fresh was always so.
 */
export function carry(before, fresh, dates, restate) {
  const old = new Map(before.map((row) => [keyOf(row), row]))
  const known = new Set(fresh.map(keyOf))
  const carried = restate ? fresh : fresh.map((row) => withHistory(old.get(keyOf(row)), row, dates))
  const gone = restate ? [] : before.filter((row) => !known.has(keyOf(row)))
  return [...carried, ...gone].sort((a, b) => compare(a.provider, b.provider) || compare(a.id, b.id))
}

function withHistory(was, row, dates) {
  if (was === undefined || same(was.periods, row.periods)) return row
  // Its source tells the dates itself.
  if (row.periods.length > 1 || row.periods[0].from !== undefined) return row
  const [now] = row.periods
  if (same(withoutFrom(was.periods.at(-1)), now)) return { ...row, periods: was.periods }
  const from = row.source === 'litellm' ? dates.litellm : dates.genai
  const past = was.periods.filter((period) => period.from === undefined || period.from < from)
  return { ...row, periods: [...past, { from, ...now }] }
}

function withoutFrom(period) {
  return Object.fromEntries(Object.entries(period).filter(([key]) => key !== 'from'))
}

function same(a, b) {
  return JSON.stringify(a) === JSON.stringify(b)
}

function keyOf({ provider, id }) {
  return `${provider} ${id}`
}

function compare(a, b) {
  return a < b ? -1 : a > b ? 1 : 0
}
