import { RESOURCE, SCOPE, SPAN, type SpanTable } from '../../proto/otlp/table.ts'
import { varintSize } from '../../proto/wire.ts'
import { reject } from '../fault.ts'

/** The row ranges, as [first, end), of parts that encode to at most `maxBytes` each. */
export function splitRows(table: SpanTable, maxBytes: number): [number, number][] {
  const parts: [number, number][] = []
  const size = new PartSize(table)
  let first = 0
  for (let row = 0; row < table.rows; row++) {
    if (size.add(row) <= maxBytes) continue
    if (row > first) parts.push([first, row])
    first = row
    size.clear()
    const alone = size.add(row)
    if (alone > maxBytes) throw tooLarge(row, alone, maxBytes)
  }
  if (table.rows > first) parts.push([first, table.rows])
  return parts
}

function tooLarge(row: number, size: number, limit: number): Error {
  return reject(
    'SPAN_TOO_LARGE',
    `span ${row} takes ${size} bytes with its resource and scope, and one message may take ${limit}; ` +
      'send smaller attributes, or raise the limit of the WAL (JetStream: max_payload of the server)',
  )
}

/** The exact size of a part as rows are added to it in order: spans in their scopes in their resources. */
class PartSize {
  readonly #table: SpanTable
  /** Content of the finished resources; of the open resource's finished scopes; of the open scope. */
  #done = 0
  #resourceBody = 0
  #scopeBody = 0
  #resource = -1
  #scope = -1

  constructor(table: SpanTable) {
    this.#table = table
  }

  clear(): void {
    this.#done = this.#resourceBody = this.#scopeBody = 0
    this.#resource = this.#scope = -1
  }

  /** Adds a row; the size of the part with it. */
  add(row: number): number {
    const { spans, scopes } = this.#table
    const scope = spans[row * SPAN.width + SPAN.scope]!
    const resource = scopes[scope * SCOPE.width + SCOPE.resource]!
    if (scope !== this.#scope) {
      this.#closeScope()
      if (resource !== this.#resource) this.#openResource(resource)
      this.#scope = scope
      this.#scopeBody = headOfScope(this.#table, scope)
    }
    this.#scopeBody += field(spans[row * SPAN.width + SPAN.len]!)
    return this.#done + field(this.#resourceBody + field(this.#scopeBody))
  }

  #closeScope(): void {
    if (this.#scope >= 0) this.#resourceBody += field(this.#scopeBody)
    this.#scope = -1
    this.#scopeBody = 0
  }

  #openResource(resource: number): void {
    if (this.#resource >= 0) this.#done += field(this.#resourceBody)
    this.#resource = resource
    this.#resourceBody = headOfResource(this.#table, resource)
  }
}

/** A LEN field with a one-byte tag. */
function field(content: number): number {
  return 1 + varintSize(content) + content
}

/** Bytes of a ScopeSpans apart from its spans. */
function headOfScope(table: SpanTable, scope: number): number {
  const base = scope * SCOPE.width
  let size = table.scopes[base + SCOPE.len]!
  const end = table.scopes[base + SCOPE.endRow]!
  for (let row = table.scopes[base + SCOPE.firstRow]!; row < end; row++) {
    size -= field(table.spans[row * SPAN.width + SPAN.len]!)
  }
  return size
}

/** Bytes of a ResourceSpans apart from its scopes. */
function headOfResource(table: SpanTable, resource: number): number {
  const base = resource * RESOURCE.width
  let size = table.resources[base + RESOURCE.len]!
  const end = table.resources[base + RESOURCE.endScope]!
  for (let scope = table.resources[base + RESOURCE.firstScope]!; scope < end; scope++) {
    size -= field(table.scopes[scope * SCOPE.width + SCOPE.len]!)
  }
  return size
}
