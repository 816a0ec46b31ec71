/**
 * What a span says, as texts: strings as they are, other values as the collector's clickhouse exporter writes them
 * (`Value.AsString`). From a stored row and from a batch alike.
 */
export interface SpanTexts {
  readonly attributes: ReadonlyMap<string, string>
  readonly events: readonly EventTexts[]
}

export interface EventTexts {
  readonly name: string
  readonly attributes: ReadonlyMap<string, string>
}

/** The first of the attributes that is not empty. */
export function firstOf(span: Pick<SpanTexts, 'attributes'>, keys: readonly string[]): string | undefined {
  for (const key of keys) {
    const text = span.attributes.get(key)
    if (text !== undefined && text !== '') return text
  }
  return undefined
}
