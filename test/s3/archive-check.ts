import { createHash } from 'node:crypto'
import { gunzipSync } from 'node:zlib'
import { setTimeout as delay } from 'node:timers/promises'
import { decodeBatch } from '../../pipeline/batch/otlp-batch.ts'
import type { Manifest } from '../../exporters/s3/manifest.ts'
import { testBatch } from '../contract/exporter.ts'
import { requestOf, type LedgerSender } from '../support/ledger-sender.ts'
import type { S3Server } from '../support/s3-server.ts'
import { isData } from './read-back.ts'

/** What an archive of `otlp_proto` holds of what a sender was told is safe. */
export interface Archived {
  /** Acknowledged spans that no object has. */
  readonly lost: number
  /** Copies beyond the first of a span. */
  readonly doubled: number
  readonly rows: number
  /** Objects that no manifest lists as they are, and manifests whose objects are not there as listed. */
  readonly unlisted: number
  readonly objects: number
}

/** Longer than a lease, an attempt that hangs, and their repeats on a busy machine. Only a loss waits so long. */
const STILL_MS = 150_000

/** Waits until the manifests list as much as was acknowledged, or stand still; then reads every object and manifest. */
export async function checkArchive(server: S3Server, sender: LedgerSender): Promise<Archived> {
  await drained(server, sender.acked.size * sender.spansPerRequest)
  const copies = new Map<number, Uint8Array>()
  const listed = new Map<string, Manifest['objects'][number]>()
  const keys = await server.keys()
  for (const key of keys.filter((each) => !isData(each))) {
    for (const object of (await manifest(server, key)).objects) listed.set(object.key, object)
  }
  let rows = 0
  let unlisted = 0
  const data = keys.filter(isData)
  for (const key of data) {
    const bytes = await server.get(key)
    const found = count(bytes, copies, sender.spansPerRequest)
    rows += found
    const said = listed.get(key)
    const sum = createHash('sha256').update(bytes).digest('hex')
    if (said?.sha256 !== sum || said.rows !== found) unlisted++
    listed.delete(key)
  }
  return { ...compare(copies, sender, rows), unlisted: unlisted + listed.size, objects: data.length }
}

/** Adds what an object holds, by request and span number; its rows. */
function count(bytes: Buffer, copies: Map<number, Uint8Array>, spansPerRequest: number): number {
  const batch = decodeBatch(gunzipSync(bytes), testBatch([]).meta)
  for (let row = 0; row < batch.rows; row++) {
    const request = requestOf(Buffer.from(batch.traceId(row)).toString('hex'))
    const spans = copies.get(request) ?? new Uint8Array(spansPerRequest)
    const span = Buffer.from(batch.spanId(row)).readUInt32BE(4) - 1
    spans[span] = (spans[span] ?? 0) + 1
    copies.set(request, spans)
  }
  return batch.rows
}

function compare(
  copies: ReadonlyMap<number, Uint8Array>,
  { acked, spansPerRequest }: LedgerSender,
  rows: number,
): Pick<Archived, 'lost' | 'doubled' | 'rows'> {
  let lost = 0
  let different = 0
  for (const request of acked) {
    const there = copies.get(request)?.reduce((sum, copy) => sum + Math.min(copy, 1), 0) ?? 0
    lost += spansPerRequest - there
  }
  for (const spans of copies.values()) different += spans.reduce((sum, copy) => sum + Math.min(copy, 1), 0)
  return { lost, doubled: rows - different, rows }
}

async function drained(server: S3Server, spans: number): Promise<void> {
  const listed = new Map<string, number>()
  let rows = -1
  for (let grewMs = performance.now(); performance.now() - grewMs < STILL_MS; await delay(200)) {
    for (const key of await server.keys()) {
      if (isData(key) || listed.has(key)) continue
      // s3rver shows an object while it writes it: then it is read again.
      const read = await manifest(server, key).catch(() => undefined)
      if (read !== undefined) listed.set(key, read.rows)
    }
    const now = Array.from(listed.values()).reduce((sum, each) => sum + each, 0)
    if (now >= spans) return
    if (now > rows) grewMs = performance.now()
    rows = Math.max(rows, now)
  }
}

async function manifest(server: S3Server, key: string): Promise<Manifest> {
  return JSON.parse((await server.get(key)).toString()) as Manifest
}

/** Ranges of which there are objects and no manifest. */
export async function unfinished(server: S3Server): Promise<number> {
  const keys = await server.keys()
  const range = (key: string): string => /\d{16}-\d{16}_\w+/.exec(key)?.[0] ?? ''
  const finished = new Set(keys.filter((key) => !isData(key)).map(range))
  return new Set(keys.filter((key) => isData(key) && !finished.has(range(key))).map(range)).size
}
