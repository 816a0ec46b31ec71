import { Readable } from 'node:stream'
import * as zlib from 'node:zlib'
import { faultOf, messageOf, reject } from '../fault.ts'
import { inflate } from '../net/inflate.ts'

/**
 * OTLP requests out of the bytes of an archived object. Its form shows itself, so that names need not be trusted:
 *
 *     1f 8b           gzip members, one after the other, of what follows here
 *     28 b5 2f fd     zstd frames, likewise
 *     {               an OTLP/JSON request per line (weir's and the collector's file and S3 exporters)
 *     0a              one OTLP protobuf request (S3 objects: .binpb)
 *     00 … 0f         requests, each behind its length in 4 bytes, big-endian (file exporters with `format: proto`); each may
 *                     be JSON, protobuf, or a zstd frame of either (the collector's file exporter with `compression: zstd`)
 */
export interface ArchivedRequest {
  readonly form: 'json' | 'proto'
  readonly bytes: Uint8Array
}

/** One request, and a whole object that is one. */
const MAX_REQUEST_BYTES = 256 * 1024 * 1024
const NEWLINE = 0x0a
const BRACE = 0x7b
const ZSTD = Buffer.from([0x28, 0xb5, 0x2f, 0xfd])
const PARQUET = Buffer.from('PAR1')
const GZIP = Buffer.from([0x1f, 0x8b])

/** Faults say what is wrong and where, never what stands there: BATCH_MALFORMED, BATCH_TOO_LARGE, ENCODING_UNSUPPORTED. */
export async function* requestsIn(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<ArchivedRequest> {
  const bytes = new ByteQueue(chunks)
  const head = await bytes.peek(4)
  if (head.length === 0) return
  if (head.subarray(0, 2).equals(GZIP)) yield* requestsIn(unpacked(bytes.rest(), 'gzip'))
  else if (head.equals(ZSTD)) yield* requestsIn(unpacked(bytes.rest(), 'zstd'))
  else if (head[0] === BRACE) yield* lines(bytes)
  else if (head[0] === NEWLINE) yield { form: 'proto', bytes: await bytes.all() }
  else if ((head[0] as number) < 0x10) yield* prefixed(bytes)
  else if (head.equals(PARQUET))
    throw reject('BATCH_MALFORMED', 'it is Parquet, which does not hold all of a span')
  else throw reject('BATCH_MALFORMED', 'it is neither OTLP/JSON nor OTLP protobuf')
}

async function* lines(bytes: ByteQueue): AsyncGenerator<ArchivedRequest> {
  for (let line = await bytes.line(); line !== undefined; line = await bytes.line()) {
    if (line.length > 0) yield { form: 'json', bytes: line }
  }
}

async function* prefixed(bytes: ByteQueue): AsyncGenerator<ArchivedRequest> {
  for (let head = await bytes.peek(4); head.length > 0; head = await bytes.peek(4)) {
    if (head.length < 4) throw cutOff()
    const length = head.readUInt32BE()
    if (length > MAX_REQUEST_BYTES) throw tooLarge()
    await bytes.take(4)
    const body = await bytes.take(length)
    const plain = body.subarray(0, 4).equals(ZSTD)
      ? Buffer.from(await inflate(body, 'zstd', MAX_REQUEST_BYTES, () => undefined))
      : body
    yield { form: plain[0] === BRACE ? 'json' : 'proto', bytes: plain }
  }
}

/** node:zlib has zstd from 22.15 on; the typings of Node.js 20 do not know it. */
const zstdStream = (zlib as { createZstdDecompress?: () => zlib.Gunzip }).createZstdDecompress

async function* unpacked(
  chunks: AsyncIterable<Uint8Array>,
  how: 'gzip' | 'zstd',
): AsyncGenerator<Uint8Array> {
  if (how === 'zstd' && zstdStream === undefined) {
    throw reject('ENCODING_UNSUPPORTED', 'it is packed with zstd, which needs Node.js 22.15 or newer here')
  }
  const stream = how === 'gzip' ? zlib.createGunzip() : zstdStream?.()
  const source = Readable.from(chunks)
  // A source that fails must fail the reader, too.
  source.on('error', (error) => stream?.destroy(error))
  try {
    for await (const chunk of source.pipe(stream as zlib.Gunzip)) yield chunk as Uint8Array
  } catch (error) {
    if (faultOf(error) !== undefined || typeof (error as { errno?: unknown }).errno !== 'number') throw error
    throw reject('BATCH_MALFORMED', `it is not whole: ${messageOf(error)}`, { cause: error })
  } finally {
    source.destroy()
  }
}

/** Bytes that come in chunks, taken as they are needed. */
class ByteQueue {
  readonly #chunks: AsyncIterator<Uint8Array>
  #held: Buffer = Buffer.alloc(0)
  /** Chunks behind `#held`, joined when they are looked at: a long line is not copied for each. */
  #more: Uint8Array[] = []
  #size = 0
  #hasEnded = false

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]()
  }

  /** The next `count` bytes, fewer at the end. They stay. */
  async peek(count: number): Promise<Buffer> {
    while (this.#size < count && (await this.#pull()) !== undefined);
    this.#join()
    return this.#held.subarray(0, count)
  }

  async take(count: number): Promise<Buffer> {
    const taken = await this.peek(count)
    if (taken.length < count) throw cutOff()
    this.#drop(count)
    return taken
  }

  /** Up to the next newline, which is dropped, or the end; undefined at the end. */
  async line(): Promise<Buffer | undefined> {
    this.#join()
    let end = this.#held.indexOf(NEWLINE)
    let before = this.#held.length
    while (end < 0) {
      if (this.#size > MAX_REQUEST_BYTES) throw tooLarge()
      const chunk = await this.#pull()
      if (chunk === undefined) break
      const at = chunk.indexOf(NEWLINE)
      if (at >= 0) end = before + at
      before += chunk.length
    }
    this.#join()
    if (end < 0 && this.#size === 0) return undefined
    const line = this.#held.subarray(0, end < 0 ? this.#size : end)
    this.#drop(end < 0 ? this.#size : end + 1)
    return line
  }

  async all(): Promise<Buffer> {
    while ((await this.#pull()) !== undefined) if (this.#size > MAX_REQUEST_BYTES) throw tooLarge()
    return this.take(this.#size)
  }

  async *rest(): AsyncGenerator<Uint8Array> {
    this.#join()
    if (this.#size > 0) yield this.#held
    for (let chunk = await this.#pull(); chunk !== undefined; chunk = await this.#pull()) yield chunk
  }

  async #pull(): Promise<Uint8Array | undefined> {
    if (this.#hasEnded) return undefined
    const { done, value } = await this.#chunks.next()
    if (done === true) this.#hasEnded = true
    else {
      this.#more.push(value)
      this.#size += value.length
    }
    return done === true ? undefined : value
  }

  #join(): void {
    if (this.#more.length === 0) return
    this.#held = Buffer.concat([this.#held, ...this.#more])
    this.#more = []
  }

  #drop(count: number): void {
    this.#held = this.#held.subarray(count)
    this.#size -= count
  }
}

function cutOff() {
  return reject('BATCH_MALFORMED', 'it ends in the middle of a request')
}

function tooLarge() {
  return reject('BATCH_TOO_LARGE', `a request in it is larger than ${MAX_REQUEST_BYTES} bytes`)
}
