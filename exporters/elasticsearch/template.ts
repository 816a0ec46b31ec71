const keyword = { type: 'keyword', ignore_above: 1024 }

/**
 * The index template of what is written. Attributes are one field of a flat type, so that no two spans disagree over the
 * type of a key, and no key count grows the mapping; OpenSearch calls it by another name.
 */
export function templateOf(pattern: string, isOpenSearch: boolean): object {
  const flat = isOpenSearch ? { type: 'flat_object' } : { type: 'flattened', ignore_above: 8191 }
  const id = { properties: { id: keyword } }
  const properties = {
    '@timestamp': { type: 'date_nanos' },
    trace: id,
    parent: id,
    span: { properties: { id: keyword, name: keyword, kind: keyword } },
    event: { properties: { duration: { type: 'long' }, outcome: keyword } },
    service: { properties: { name: keyword } },
    status: { properties: { message: { type: 'text' } } },
    attributes: flat,
    resource: { properties: { attributes: flat } },
    scope: { properties: { name: keyword, version: keyword, attributes: flat } },
    events: { properties: { '@timestamp': { type: 'date_nanos' }, name: keyword, attributes: flat } },
    links: { properties: { trace: id, span: id, attributes: flat } },
    weir: { properties: { cost_usd: { type: 'double' } } },
  }
  const texts = { texts: { match_mapping_type: 'string', mapping: keyword } }
  return {
    index_patterns: [pattern],
    priority: 200,
    template: { mappings: { dynamic_templates: [texts], properties } },
  }
}
