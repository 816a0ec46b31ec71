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
export function bodyOf(part: Part, { marshaler, s3uploader: { compression } }: Config): Promise<Uint8Array> {
  if (marshaler === 'parquet') return parquetOf(part, compression)
  const batches = part.pieces.map(only)
  // Concatenated requests are one request.
  if (marshaler === 'otlp_proto')
    return compress(Buffer.concat(batches.map((batch) => batch.encode())), compression)
  return compress(Buffer.concat(batches.map((batch) => Buffer.from(`${batch.toJson()}\n`))), compression)
}

function only({ batch, rows }: Piece): Batch {
  return rows === undefined ? batch : batch.select(rows)
}
