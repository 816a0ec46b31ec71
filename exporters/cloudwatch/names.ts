/** Fields of a span that names of groups and streams may hold, in braces. */
export const NAME_FIELDS = ['tenant', 'project', 'service', 'agent'] as const

export type NameFields = Readonly<Record<(typeof NAME_FIELDS)[number], string>>

/** A log stream. */
export interface Place {
  readonly group: string
  readonly stream: string
}

const MAX_VALUE = 120
const MAX_NAME = 512
const OTHER = 'other'

/**
 * The stream of a span. What senders name (service, agent) cannot climb into another path, and cannot have more than
 * `max` streams made.
 */
export class Names {
  readonly #group: string
  readonly #stream: string
  readonly #max: number
  readonly #known = new Map<string, Place>()

  constructor(group: string, stream: string, max: number) {
    this.#group = group
    this.#stream = stream
    this.#max = max
  }

  of(fields: NameFields): Place {
    const place = this.#fill(fields)
    const key = `${place.group}:${place.stream}`
    const known = this.#known.get(key)
    if (known !== undefined) return known
    if (this.#known.size >= this.#max) return this.#fill({ ...fields, service: OTHER, agent: OTHER })
    this.#known.set(key, place)
    return place
  }

  #fill(fields: NameFields): Place {
    return { group: filled(this.#group, fields), stream: filled(this.#stream, fields) }
  }
}

function filled(template: string, fields: NameFields): string {
  const value = (name: string): string => {
    const text = fields[name as keyof NameFields].slice(0, MAX_VALUE)
    return text === '' ? 'unknown' : text.replace(/[^.\-_#A-Za-z0-9]/g, '_')
  }
  const name = template.replace(/\{(\w+)\}/g, (whole, field: string) =>
    field in fields ? value(field) : whole,
  )
  return name.slice(0, MAX_NAME)
}
