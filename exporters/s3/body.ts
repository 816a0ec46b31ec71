import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Batch } from '../../pipeline/batch/batch.ts'
import { compress } from '../../pipeline/net/compress.ts'
import type { Config } from './config.ts'
import { parquetOf } from './parquet.ts'
import type { Part, Piece } from './partition.ts'

export const CONTENT_TYPES = {
  otlp_json: 'application/x-ndjson',
  otlp_proto: 'application/x-protobuf',
  parquet: 'application/vnd.apache.parquet',
} as const satisfies Record<Config['marshaler'], string>

/** One part as the bytes of its object. The same part gives the same bytes. */
export async function bodyOf(
  part: Part,
  { marshaler, s3uploader: { compression } }: Config,
): Promise<Uint8Array> {
  if (marshaler === 'parquet') return parquetOf(part, compression)
  const chunks: Uint8Array[] = []
  for (const piece of part.pieces) {
    const batch = only(piece)
    // Concatenated requests are one request.
    chunks.push(marshaler === 'otlp_proto' ? batch.encode() : Buffer.from(`${batch.toJson()}\n`))
    // Leases and health checks need their share of the event loop.
    await nextTurn()
  }
  return compress(Buffer.concat(chunks), compression)
}

function only({ batch, rows }: Piece): Batch {
  return rows === undefined ? batch : batch.select(rows)
}
