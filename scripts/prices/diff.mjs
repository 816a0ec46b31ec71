/** What a new table changes: models that came and went, and every rate of the present that is another one. */
export function diff(before, after) {
  const old = new Map(before.map((row) => [keyOf(row), row]))
  const fresh = new Map(after.map((row) => [keyOf(row), row]))
  const changed = []
  for (const [key, row] of fresh) {
    const was = old.get(key)
    if (was === undefined || JSON.stringify(was.periods) === JSON.stringify(row.periods)) continue
    changed.push({
      key,
      rates: ratesChanged(was.periods.at(-1), row.periods.at(-1)),
      periods: row.periods.length,
    })
  }
  return {
    added: [...fresh.values()].filter((row) => !old.has(keyOf(row))),
    removed: [...old.keys()].filter((key) => !fresh.has(key)),
    changed,
  }
}

/** [rate, before, after]; tiers and services by a name of their own. */
function ratesChanged(was, now) {
  const [a, b] = [flat(was), flat(now)]
  return [...new Set([...a.keys(), ...b.keys()])]
    .filter((name) => a.get(name) !== b.get(name))
    .map((name) => [name, a.get(name), b.get(name)])
}

function flat({ hours, tiers = [], batch, flex, priority, ...rates }) {
  const found = new Map(Object.entries(rates).filter(([key]) => key !== 'from' && key !== 'to'))
  if (hours !== undefined) found.set('hours', hours.join('–'))
  for (const { over, ...tier } of tiers)
    for (const [name, value] of Object.entries(tier)) found.set(`${name} over ${over}`, value)
  for (const [service, pair] of Object.entries({ batch, flex, priority }))
    for (const [name, value] of Object.entries(pair ?? {})) found.set(`${service} ${name}`, value)
  return found
}

export function render({ added, removed, changed }, models) {
  const lines = changed.flatMap(({ key, rates, periods }) => [
    `${key}${periods > 1 ? ` (${periods} dated prices)` : ''}`,
    ...rates.map(([name, was, now]) => `  ${name}: ${was ?? 'none'} → ${now ?? 'none'}${percent(was, now)}`),
  ])
  lines.push(
    `${models} models: ${added.length} added, ${removed.length} removed, ${changed.length} with another price`,
  )
  return `${lines.join('\n')}\n`
}

function percent(was, now) {
  if (!(Number(was) > 0) || !(Number(now) >= 0)) return ''
  const change = (Number(now) / Number(was) - 1) * 100
  return ` (${change > 0 ? '+' : ''}${change.toFixed(0)} %)`
}

function keyOf({ provider, id }) {
  return `${provider} ${id}`
}
