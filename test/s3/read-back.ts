import { gunzipSync } from 'node:zlib'
import { parquetReadObjects } from 'hyparquet'
import { decodeBatch, decodeJsonBatch } from '../../pipeline/batch/otlp-batch.ts'
import type { Batch } from '../../pipeline/batch/batch.ts'
import { testBatch } from '../contract/exporter.ts'

/** A row of a Parquet file, as an independent reader gives it. */
export type Row = Readonly<Record<string, unknown>>

export const isData = (key: string): boolean => !key.includes('_manifests/')

/** The batches in an object of OTLP. */
export function batchesIn(key: string, bytes: Buffer): Batch[] {
  const plain = key.endsWith('.gz') ? gunzipSync(bytes) : bytes
  const { meta } = testBatch([])
  if (key.includes('.binpb')) return [decodeBatch(plain, meta)]
  const lines = plain.toString().trimEnd().split('\n')
  return lines.map((line) => decodeJsonBatch(Buffer.from(line), meta))
}

export async function rowsIn(bytes: Buffer): Promise<Row[]> {
  const file = new Uint8Array(bytes).buffer
  const compressors = { GZIP: (packed: Uint8Array) => new Uint8Array(gunzipSync(packed)) }
  // A timestamp would come as a Date, which has no nanoseconds.
  const parsers = { timestampFromNanoseconds: (ns: bigint) => ns as unknown as Date }
  return parquetReadObjects({ file, compressors, parsers })
}

/** Span ids in all objects, one per stored copy. */
export async function idsIn(objects: ReadonlyMap<string, Buffer>): Promise<string[]> {
  const ids: string[] = []
  for (const [key, bytes] of objects) {
    if (!isData(key)) continue
    if (key.endsWith('.parquet')) ids.push(...(await rowsIn(bytes)).map((row) => row['SpanId'] as string))
    else {
      for (const batch of batchesIn(key, bytes)) {
        for (let row = 0; row < batch.rows; row++) ids.push(Buffer.from(batch.spanId(row)).toString('hex'))
      }
    }
  }
  return ids
}
