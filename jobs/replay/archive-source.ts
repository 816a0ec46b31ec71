import { hash } from 'node:crypto'
import type { Archive, ArchivedObject, ArchivedRange, ArchiveScope } from '../../pipeline/archive/archive.ts'
import { requestsIn, type ArchivedRequest } from '../../pipeline/archive/requests.ts'
import type { Batch, BatchMeta } from '../../pipeline/batch/batch.ts'
import { decodeBatch, decodeJsonBatch } from '../../pipeline/batch/otlp-batch.ts'
import type { Processor } from '../../pipeline/component.ts'
import { faultOf, messageOf, reject } from '../../pipeline/fault.ts'
import type { Chunk } from './chunk.ts'

const MAX_BYTES = 32 * 1024 * 1024

export interface ArchiveOptions {
  readonly archive: Archive
  readonly scope: ArchiveScope
  readonly part: ArchivedRange | undefined
  /** So many requests of the object at this position are done. */
  readonly within: string
  readonly done: number
  readonly maxSpans: number
  readonly process: Processor['process']
}

/** What an archive holds, in chunks across objects. What cannot be read is counted and left out. */
export async function* fromArchive(options: ArchiveOptions, signal: AbortSignal): AsyncGenerator<Chunk> {
  const { archive, scope, part, maxSpans } = options
  const building = new Building(scope.after ?? '', options)
  for await (const object of archive.list(scope, signal)) {
    if (part !== undefined && !isOf(object.range, part)) continue
    const known = object.tenant ?? scope.tenant
    if (known === undefined) throw nameless(object.name)
    let index = 0
    try {
      for await (const request of requestsIn(archive.open(object, signal))) {
        signal.throwIfAborted()
        if (index++ < building.skip(object)) continue
        await building.add(request, known, object.name, options.process)
        if (building.spans < maxSpans && building.bytes < MAX_BYTES) continue
        yield building.take(object, index)
      }
    } catch (error) {
      if (faultOf(error)?.verdict.do !== 'reject') throw error
      building.damaged(`${object.name}: ${messageOf(error)}`)
    }
    building.passed(object)
  }
  if (!building.isEmpty) yield building.take(undefined, 0)
}

function isOf(range: ArchivedRange | undefined, part: ArchivedRange): boolean {
  return range?.cursor === part.cursor && range.to >= part.from && range.from <= part.to
}

function nameless(name: string) {
  return reject('REQUEST_INVALID', `${name} does not say whose spans it holds: name the tenant`)
}

class Building {
  #after: string
  readonly #within: string
  readonly #done: number
  spans = 0
  bytes = 0
  #batches: Batch[] = []
  #refused = 0
  #damaged = 0
  #notes: string[] = []
  #objects = 0
  #name: string

  constructor(after: string, { within, done }: Pick<ArchiveOptions, 'within' | 'done'>) {
    this.#after = after
    this.#within = within
    this.#done = done
    this.#name = `${within || after}#${done}`
  }

  /** Requests of the object that an earlier run has done. */
  skip({ position }: ArchivedObject): number {
    return position === this.#within ? this.#done : 0
  }

  get isEmpty(): boolean {
    return this.#objects === 0 && this.spans === 0 && this.#damaged === 0
  }

  async add(
    request: ArchivedRequest,
    tenant: string,
    name: string,
    process: Processor['process'],
  ): Promise<void> {
    let batch: Batch
    try {
      batch = decoded(request, tenant)
    } catch (error) {
      if (faultOf(error)?.verdict.do !== 'reject') throw error
      return this.damaged(`${name}: ${messageOf(error)}`)
    }
    this.spans += batch.rows
    this.bytes += request.bytes.length
    this.#refused += await refusedBy(batch, process)
    this.#batches.push(batch)
  }

  damaged(note: string): void {
    this.#damaged++
    this.#notes.push(note)
  }

  passed(object: ArchivedObject): void {
    this.#after = object.position
    this.#objects++
  }

  /** Ends the chunk; `requests` of the object that is being read are in it or before. */
  take(object: ArchivedObject | undefined, requests: number): Chunk {
    const within = object?.position ?? ''
    const chunk: Chunk = {
      name: this.#name,
      batches: this.#batches,
      from: 0,
      to: 0,
      next: { in: 'archive', after: this.#after, within, requests },
      read: {
        spans: this.spans,
        duplicates: 0,
        refused: this.#refused,
        damaged: this.#damaged,
        notes: this.#notes,
      },
    }
    this.#name = `${within || this.#after}#${requests}`
    this.#batches = []
    this.#notes = []
    this.spans = this.bytes = this.#refused = this.#damaged = this.#objects = 0
    return chunk
  }
}

/** An archive does not say when a span was received: it counts as received when the last of its request ended. */
function decoded({ form, bytes }: ArchivedRequest, tenant: string): Batch {
  const meta: { -readonly [K in keyof BatchMeta]: BatchMeta[K] } = {
    signal: 'traces',
    tenant,
    project: '',
    principal: '',
    source: 'replay/archive',
    receivedAtMs: 0,
    digest: hash('sha256', bytes, 'buffer').subarray(0, 16),
  }
  const batch = form === 'json' ? decodeJsonBatch(bytes, meta) : decodeBatch(bytes, meta)
  let lastMs = 0
  for (let row = 0; row < batch.rows; row++) {
    lastMs = Math.max(lastMs, batch.startMs(row) + Number(batch.durationNs(row) / 1_000_000n))
  }
  meta.receivedAtMs = Math.floor(lastMs)
  return batch
}

/** Runs the processors; what they reject is dropped and counted. */
async function refusedBy(batch: Batch, process: Processor['process']): Promise<number> {
  const before = batch.live
  try {
    const outcome = await process(batch)
    const rows = new Set((outcome?.rejected ?? []).flatMap((rejection) => rejection.rows))
    let refused = batch.drops().get('rejected') ?? 0
    for (const row of rows) {
      if (!batch.isLive(row)) continue
      batch.drop(row, 'rejected')
      refused++
    }
    return refused
  } catch (error) {
    if (faultOf(error)?.verdict.do !== 'reject') throw error
    for (let row = 0; row < batch.rows; row++) if (batch.isLive(row)) batch.drop(row, 'rejected')
    return before
  }
}
