const SERIES =
  /^([a-zA-Z_:][a-zA-Z0-9_:]*(?:\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)*\})?) (\S+)$/

/** A page of Prometheus text format as series → value; throws on a line that the format does not allow. */
export function parsePrometheus(text: string): Map<string, number> {
  const series = new Map<string, number>()
  const typed = new Set<string>()
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('# HELP ')) continue
    if (line.startsWith('# TYPE ')) {
      const name = line.split(' ')[2] ?? ''
      if (typed.has(name)) throw new Error(`two TYPE lines for ${name}`)
      typed.add(name)
      continue
    }
    const [, key = '', value = ''] = SERIES.exec(line) ?? []
    if (key === '') throw new Error(`not Prometheus text: ${line}`)
    if (series.has(key)) throw new Error(`twice: ${key}`)
    series.set(key, Number(value.replace('+Inf', 'Infinity')))
  }
  return series
}
