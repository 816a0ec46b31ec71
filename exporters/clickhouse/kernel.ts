import { randomBytes } from 'node:crypto'
import type { AttrRef } from '../../pipeline/batch/batch.ts'
import { keyBytes, keyId, type KeyId } from '../../pipeline/batch/keys.ts'
import { wasmModule } from '../../proto/wasm-module.ts'
import type { Arranger } from '../../proto/clickhouse/columns.ts'
import type { RawView } from '../../pipeline/batch/raw.ts'
import { TableReader } from '../../pipeline/batch/table-reader.ts'
import { reject } from '../../pipeline/fault.ts'

/** A full block of ordinary spans takes 230 MiB, one of long texts 490. */
const LARGE = 768 << 20
/** In UTF-16 units. */
const LONG_TEXT = 1 << 20

/** Of assembly/index.ts, whose docstrings tell what each does. Addresses and sizes are in bytes; an address from 2^31 on comes as a negative number. */
interface Exports {
  readonly memory: WebAssembly.Memory
  setup(seed: number, serviceName: number, redactions: number, violations: number): void
  clear(): void
  scratch(size: number): number
  tenant(size: number): void
  open(
    bytes: number,
    spans: number,
    scopes: number,
    resources: number,
    attrs: number,
    events: number,
    links: number,
    limitMs: number,
  ): number
  add(from: number, end: number, maxRows: number, maxBytes: number): number
  isFull(): number
  rowCount(): number
  firstMs(): number
  lastMs(): number
  eventIds(): number
  finish(): number
  openForeign(size: number): number
  gatherForeign(width: number): number
  start(part: number): number
  length(part: number): number
}

/**
 * The span columns of one block, filled from the bytes of requests by WebAssembly (the sources lie in `assembly/`; the build
 * makes `kernel.wasm` of them): a fifth of the CPU that the same took in JavaScript. It is asked for little: what is neither
 * a string nor an integer is put into words here.
 */
export class SpanKernel implements Arranger {
  readonly #exports: Exports
  #memory: Buffer
  #reader: TableReader | undefined
  #tenant: string | undefined
  #isTrapped = false

  constructor() {
    const host = {
      keyBytes: (id: number) => this.#leave(keyBytes(id as KeyId)),
      valueText: (ref: number) => this.#leaveText(this.#source.text(ref as AttrRef)),
      count: (ref: number) => countOf(this.#source.number(ref as AttrRef)),
    }
    const instance = new WebAssembly.Instance(compiled(), { host })
    this.#exports = instance.exports as unknown as Exports
    this.#memory = Buffer.from(this.#exports.memory.buffer)
    this.#exports.setup(SEED, SERVICE_NAME, REDACTIONS, VIOLATIONS)
  }

  get rows(): number {
    return this.#exports.rowCount()
  }

  /** Of the spans in the block, by start; Unix ms. */
  get firstMs(): number {
    return this.#exports.firstMs()
  }

  get lastMs(): number {
    return this.#exports.lastMs()
  }

  /** To be let go: its memory is large and never shrinks, or it was left in the middle of something. */
  get isSpent(): boolean {
    return this.#isTrapped || this.#exports.memory.buffer.byteLength > LARGE
  }

  /** The last `add` stopped for its limits. */
  get isFull(): boolean {
    return this.#exports.isFull() !== 0
  }

  clear(): void {
    this.#exports.clear()
  }

  /** Takes the request that `add` reads. `limitMs`: Unix ms; spans that start later get an attribute that says by how much. */
  open({ bytes, table }: RawView, tenant: string, limitMs: number): void {
    this.#reader = new TableReader(bytes, table)
    if (tenant !== this.#tenant) {
      this.#exports.tenant(this.#leaveText(tenant))
      this.#tenant = tenant
    }
    const { spans, scopes, resources, attrs, events, links } = table
    const [s, c, r, a, e, l] = [spans, scopes, resources, attrs, events, links].map(sizeOf)
    let at = this.#guarded(() => this.#exports.open(bytes.length, s!, c!, r!, a!, e!, l!, limitMs)) >>> 0
    const memory = this.#view()
    for (const part of [bytes, spans, scopes, resources, attrs, events, links]) {
      memory.set(new Uint8Array(part.buffer, part.byteOffset, part.byteLength), at)
      at += (part.byteLength + 7) & ~7
    }
  }

  /** Adds the rows in [from, end) of the request's table until the block has so many rows or bytes; where it stopped. */
  add(from: number, end: number, maxRows: number, maxBytes: number): number {
    return this.#guarded(() => this.#exports.add(from, end, maxRows, maxBytes))
  }

  /** Makes the parts, their rows in the order of the table's key. True where they came in another: other columns are then to be arranged. */
  finish(): boolean {
    return this.#guarded(() => this.#exports.finish()) !== 0
  }

  arrangeValues(bytes: Uint8Array, width: number): void {
    this.#arrange(bytes, width)
  }

  arrangeStrings(bytes: Uint8Array): void {
    this.#arrange(bytes, 0)
  }

  #arrange(bytes: Uint8Array, width: number): void {
    const at = this.#guarded(() => this.#exports.openForeign(bytes.length)) >>> 0
    this.#view().set(bytes, at)
    const start = this.#guarded(() => this.#exports.gatherForeign(width)) >>> 0
    bytes.set(this.#view().subarray(start, start + bytes.length))
  }

  /** Of the rows as they came, 16 bytes each; a copy. */
  eventIds(): Buffer {
    const start = this.#exports.eventIds() >>> 0
    return Buffer.from(this.#view().subarray(start, start + this.rows * 16))
  }

  /** Valid until the block is filled again. */
  part(index: number): Buffer {
    const start = this.#exports.start(index) >>> 0
    return this.#view().subarray(start, start + this.#exports.length(index))
  }

  #guarded<T>(work: () => T): T {
    try {
      return work()
    } catch (error) {
      if (!(error instanceof WebAssembly.RuntimeError)) throw error
      this.#isTrapped = true
      throw reject(
        'EXPORT_REJECTED',
        `clickhouse: these spans take more memory than a block may, 1 GiB a column (${error.message})`,
        { cause: error },
      )
    }
  }

  get #source(): TableReader {
    if (this.#reader === undefined) throw new Error('the kernel reads no request')
    return this.#reader
  }

  #leave(bytes: Uint8Array): number {
    const at = this.#exports.scratch(bytes.length)
    this.#view().set(bytes, at >>> 0)
    return bytes.length
  }

  /** As UTF-8; its size. */
  #leaveText(text: string): number {
    // Three bytes a unit is quickly said, but of a long text a GiB too much.
    const at = this.#exports.scratch(text.length > LONG_TEXT ? Buffer.byteLength(text) : text.length * 3)
    return this.#view().write(text, at >>> 0)
  }

  /** Memory that has grown is another buffer. */
  #view(): Buffer {
    const { buffer } = this.#exports.memory
    if (this.#memory.buffer !== buffer) this.#memory = Buffer.from(buffer)
    return this.#memory
  }
}

const SERVICE_NAME = keyId('service.name')
const REDACTIONS = keyId('weir.redactions')
const VIOLATIONS = keyId('weir.violations')
/** Different in each process, so that nobody outside can choose names that collide. */
const SEED = randomBytes(4).readInt32LE(0)

const compiled = wasmModule(new URL('./kernel.wasm', import.meta.url))

function sizeOf(table: Int32Array): number {
  return table.byteLength
}

function countOf(count: number): number {
  return count > 0 && count <= 0xffff_ffff ? Math.floor(count) : 0
}
