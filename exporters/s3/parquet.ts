import { setImmediate as nextTurn } from 'node:timers/promises'
import * as zlib from 'node:zlib'
import type { CompressionCodec, SchemaElement } from 'hyparquet'
import type { ColumnSource } from 'hyparquet-writer'
import type { AttrRange } from '../../pipeline/batch/batch.ts'
import { rawView } from '../../pipeline/batch/raw.ts'
import { TableReader } from '../../pipeline/batch/table-reader.ts'
import { EventIds } from '../../pipeline/batch/event-id.ts'
import { factsOf } from '../../pipeline/genai/facts-of.ts'
import { SPAN } from '../../proto/otlp/table.ts'
import { attributesJson } from './attributes-json.ts'
import type { Config } from './config.ts'
import { COLUMNS, type Source } from './parquet-columns.ts'
import type { Part, Piece } from './partition.ts'

const GROUP_ROWS = 8192
const GROUP_BYTES = 4 * 1024 * 1024
/** Leases and health checks need their share of the event loop: a turn takes so many rows, or writes a row group. */
const TURN_ROWS = 512

const CODECS = { none: 'UNCOMPRESSED', gzip: 'GZIP', zstd: 'ZSTD' } as const
const GZIP_LEVEL = 1

const SCHEMA: SchemaElement[] = [
  { name: 'spans', num_children: COLUMNS.length },
  ...COLUMNS.map(({ schema }) => schema),
]

/** The spans of a part as a Parquet file. */
export async function parquetOf(
  part: Part,
  compression: Config['s3uploader']['compression'],
): Promise<Uint8Array> {
  // Loaded only where Parquet is written.
  const { ByteWriter, ParquetWriter } = await import('hyparquet-writer')
  const writer = new ByteWriter()
  const codec: CompressionCodec = CODECS[compression]
  const file = new ParquetWriter({
    writer,
    schema: SCHEMA,
    codec,
    compressors: compressors(),
    createdBy: 'weir',
  })
  const group = new Group()
  for (const piece of part.pieces) {
    for (const [source, bytes] of sourcesOf(piece)) {
      group.add(source, bytes)
      if (group.isFull) await file.write({ columnData: group.take(), rowGroupSize: GROUP_ROWS })
      if (group.rows % TURN_ROWS === 0) await nextTurn()
    }
  }
  if (group.rows > 0) await file.write({ columnData: group.take(), rowGroupSize: GROUP_ROWS })
  await file.finish()
  return writer.getBytes()
}

function compressors() {
  const { zstdCompressSync } = zlib as { zstdCompressSync?: (bytes: Uint8Array) => Uint8Array }
  return {
    GZIP: (bytes: Uint8Array): Uint8Array => zlib.gzipSync(bytes, { level: GZIP_LEVEL }),
    ...(zstdCompressSync !== undefined && { ZSTD: zstdCompressSync }),
  }
}

function* sourcesOf({ batch, rows }: Piece): Generator<readonly [Source, number]> {
  const facts = factsOf(batch)
  const { bytes, table, rows: origin } = rawView(batch)
  const reader = new TableReader(bytes, table)
  const ids = new EventIds(batch.meta.tenant)
  const wanted = rows === undefined ? undefined : new Set(rows)
  const resource = lastJson(reader)
  const scope = lastJson(reader)
  for (let at = 0; at < table.rows; at++) {
    const row = origin === undefined ? at : origin[at]!
    if (wanted?.has(row) === false) continue
    const place = at * SPAN.width
    const { spans } = table
    const eventId = ids
      .of(bytes, spans[place + SPAN.traceId]!, spans[place + SPAN.spanId]!, spans[place + SPAN.start]!)
      .toString('hex')
    const around = {
      resource: resource(reader.attrs(at, 'resource')),
      scope: scope(reader.attrs(at, 'scope')),
    }
    yield [{ batch, reader, at, facts, row, eventId, ...around }, reader.spanSize(at)]
  }
}

/** `attributesJson` that remembers the last range: neighbours mostly stand under the same resource and scope. */
function lastJson(reader: TableReader): (range: AttrRange) => string {
  let last: AttrRange = { first: -1, end: -1 }
  let json = ''
  return (range) => {
    if (range.first !== last.first || range.end !== last.end) json = attributesJson(reader, range)
    last = range
    return json
  }
}

/** Rows on their way into a row group, column by column. */
class Group {
  #columns: unknown[][] = COLUMNS.map(() => [])
  #bytes = 0

  get rows(): number {
    return this.#columns[0]!.length
  }

  get isFull(): boolean {
    return this.rows >= GROUP_ROWS || this.#bytes >= GROUP_BYTES
  }

  add(source: Source, bytes: number): void {
    for (let i = 0; i < COLUMNS.length; i++) this.#columns[i]!.push(COLUMNS[i]!.value(source))
    this.#bytes += bytes
  }

  take(): ColumnSource[] {
    const taken = this.#columns.map((data, i): ColumnSource => {
      const { schema, isUnique } = COLUMNS[i]!
      return { name: schema.name, data, ...(isUnique && { encoding: 'PLAIN', statistics: false }) }
    })
    this.#columns = COLUMNS.map(() => [])
    this.#bytes = 0
    return taken
  }
}
