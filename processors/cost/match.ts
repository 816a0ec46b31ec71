/** A rule of the price table over a lower-case model id. */
export type Matcher = (id: string) => boolean

/** Compiles a rule; throws for an unknown one, so that a broken table fails at start. */
export function compileRule(rule: unknown): Matcher {
  if (typeof rule !== 'object' || rule === null) throw new Error('a match rule must be an object')
  const [[kind, value] = ['', undefined]] = Object.entries(rule)
  if (kind === 'or' || kind === 'and') {
    if (!Array.isArray(value)) throw new Error(`match rule ${kind} takes a list`)
    const parts = value.map(compileRule)
    return kind === 'or' ? (id) => parts.some((part) => part(id)) : (id) => parts.every((part) => part(id))
  }
  if (typeof value !== 'string') throw new Error(`match rule ${kind} takes a text`)
  const text = value.toLowerCase()
  if (kind === 'equals') return (id) => id === text
  if (kind === 'starts_with') return (id) => id.startsWith(text)
  if (kind === 'ends_with') return (id) => id.endsWith(text)
  if (kind === 'contains') return (id) => id.includes(text)
  if (kind === 'regex') {
    const pattern = new RegExp(value)
    return (id) => pattern.test(id)
  }
  throw new Error(`unknown match rule ${kind}`)
}

/** The ids that a rule names outright, and whether it takes others too. */
export function exactIds(rule: unknown): { ids: string[]; open: boolean } {
  const [[kind, value] = ['', undefined]] = Object.entries(rule as object)
  if (kind === 'equals') return { ids: [String(value).toLowerCase()], open: false }
  if (kind !== 'or' || !Array.isArray(value)) return { ids: [], open: true }
  const parts = value.map(exactIds)
  return { ids: parts.flatMap((part) => part.ids), open: parts.some((part) => part.open) }
}
