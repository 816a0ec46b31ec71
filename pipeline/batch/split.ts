import { RESOURCE, SCOPE, SPAN, type SpanTable } from '../../proto/otlp/table.ts'
import { Cursor, varintSize } from '../../proto/wire.ts'
import { reject } from '../fault.ts'

/** The row ranges, as [first, end), of parts that encode to at most `maxBytes` each and hold as many rows as fit. */
export function splitRows(bytes: Uint8Array, table: SpanTable, maxBytes: number): [number, number][] {
  const parts: [number, number][] = []
  const size = new PartSize(table, measure(bytes, table))
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
  readonly #sizes: Sizes
  /** Content of the finished resources; of the open resource's finished scopes; of the open scope. */
  #done = 0
  #resourceBody = 0
  #scopeBody = 0
  #resource = -1
  #scope = -1

  constructor(table: SpanTable, sizes: Sizes) {
    this.#table = table
    this.#sizes = sizes
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
      this.#scopeBody = this.#sizes.scopes[scope]!
    }
    this.#scopeBody += this.#sizes.spans[row]!
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
    this.#resourceBody = this.#sizes.resources[resource]!
  }
}

/** A LEN field with a one-byte tag. */
function field(content: number): number {
  return 1 + varintSize(content) + content
}

/** Bytes on the wire: of each Span field, tag and length included; of each scope and resource apart from its children. */
interface Sizes {
  readonly spans: Int32Array
  readonly scopes: Int32Array
  readonly resources: Int32Array
}

/** By walking the fields, since a tag or a length may be written longer than it need be, and is copied so. */
function measure(bytes: Uint8Array, table: SpanTable): Sizes {
  const scopeCount = table.scopes.length / SCOPE.width
  const spans = new Int32Array(table.rows)
  const resources = new Int32Array(table.resources.length / RESOURCE.width)
  const scopes = new Int32Array(scopeCount)
  for (let i = 0; i < resources.length; i++) {
    resources[i] = childSizes(bytes, table.resources, i * RESOURCE.width, undefined, 0)
  }
  let row = 0
  for (let i = 0; i < scopeCount; i++) {
    scopes[i] = childSizes(bytes, table.scopes, i * SCOPE.width, spans, row)
    row = table.scopes[i * SCOPE.width + SCOPE.endRow]!
  }
  return { spans, scopes, resources }
}

/** Notes the sizes of the fields 2 of a message from `sizes[next]` on; returns the size of the others. */
function childSizes(
  bytes: Uint8Array,
  records: Int32Array,
  base: number,
  sizes: Int32Array | undefined,
  next: number,
): number {
  const off = records[base]!
  const cursor = new Cursor(bytes, off, off + records[base + 1]!)
  let others = 0
  let index = next
  while (cursor.next()) {
    const { field, start } = cursor
    cursor.skip()
    if (field !== 2) others += cursor.pos - start
    else if (sizes !== undefined) sizes[index++] = cursor.pos - start
  }
  return others
}
