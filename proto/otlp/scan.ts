import { POOL } from '../buffer-pool.ts'
import type { KeyInterner } from '../intern.ts'
import { wasmModule } from '../wasm-module.ts'
import { WireError } from '../wire.ts'
import { type Marks, SignatureIds } from './signatures.ts'
import { MAX_DEPTH, SPAN, type SpanTable } from './table.ts'

/**
 * The offset table of one ExportTraceServiceRequest (or several, concatenated: the same thing). One pass over every
 * byte that carries structure, nothing decoded, in WebAssembly (`assembly/`, which the build makes `scan.wasm` of). Throws
 * WireError where the bytes are not a valid message: framing, wire types of known fields, sizes of ids, nesting. Strings are
 * not checked for UTF-8. Unknown fields are passed over. Large tables lie in memory of the pool.
 */
export function scan(bytes: Uint8Array, keys: KeyInterner): SpanTable {
  let scanner = scanners.get(keys)
  if (scanner === undefined) scanners.set(keys, (scanner = new Scanner(keys)))
  try {
    return scanner.run(bytes)
  } finally {
    if (scanner.isLarge || scanner.half !== ids.half) scanners.delete(keys)
  }
}

/** An interner's scanner remembers its keys: the daemon has one. */
const scanners = new WeakMap<KeyInterner, Scanner>()

/** From now on scans with these keys fill in `signatures` and `marked`. */
export function markKeys(keys: KeyInterner, marks: Marks): void {
  marked.set(keys, marks)
  scanners.delete(keys)
}

const marked = new WeakMap<KeyInterner, Marks>()

/** Of the process. */
const ids = new SignatureIds()

/** Of assembly/index.ts. Addresses and sizes are in bytes; an address from 2^31 on comes as a negative number. */
interface Exports {
  readonly memory: WebAssembly.Memory
  open(size: number): number
  openMarks(count: number): number
  scan(size: number): void
  start(table: number): number
  size(table: number): number
  hasForeign(): number
  hasUnlisted(): number
  errorCode(): number
  errorPlace(): number
  errorOne(): number
  errorTwo(): number
}

/** Memory of a module never shrinks: after a request that needed more, the scanner is let go. */
const LARGE = 32 << 20

class Scanner {
  /** Of the ids that it may remember. */
  readonly half = ids.half
  readonly #exports: Exports
  readonly #keys: KeyInterner
  #bytes: Uint8Array
  #words: Int32Array
  #view: DataView

  constructor(keys: KeyInterner) {
    this.#keys = keys
    const host = {
      keyId: (at: number, size: number) => this.#keyId(at, size),
      signatureId: () => ids.next(),
    }
    const instance = new WebAssembly.Instance(compiled(), { host })
    this.#exports = instance.exports as unknown as Exports
    this.#bytes = new Uint8Array(this.#exports.memory.buffer)
    this.#words = new Int32Array(this.#bytes.buffer)
    this.#view = new DataView(this.#bytes.buffer)
    const marks = marked.get(keys)
    if (marks === undefined) return
    const at = this.#exports.openMarks(marks.length) >>> 0
    new Uint32Array(this.#exports.memory.buffer, at, marks.length).set(marks)
  }

  get isLarge(): boolean {
    this.#refresh()
    return this.#bytes.length > Math.min(LARGE, POOL.mostIdleBytes)
  }

  run(bytes: Uint8Array): SpanTable {
    try {
      const at = this.#exports.open(bytes.length)
      this.#refresh()
      this.#bytes.set(bytes, at >>> 0)
      this.#exports.scan(bytes.length)
    } catch (error) {
      throw this.#refusal() ?? error
    }
    const spans = this.#table(0)
    return {
      rows: spans.length / SPAN.width,
      spans,
      attrs: this.#table(1),
      events: this.#table(2),
      links: this.#table(3),
      scopes: this.#table(4),
      resources: this.#table(5),
      signatures: this.#table(6),
      marked: this.#table(7),
      hasForeignKeys: this.#exports.hasForeign() !== 0,
      hasUnlisted: this.#exports.hasUnlisted() !== 0,
    }
  }

  #keyId(at: number, size: number): number {
    this.#refresh()
    return this.#keys.find(this.#view, at >>> 0, size)
  }

  #table(index: number): Int32Array {
    const size = this.#exports.size(index)
    if (size === 0) return NO_RECORDS
    this.#refresh()
    return copyOf(this.#words, this.#exports.start(index) >>> 2, size >>> 2)
  }

  /** Why the scan ended; undefined: by no decision of its own. */
  #refusal(): WireError | undefined {
    const kernel = this.#exports
    const reason = REASONS[kernel.errorCode() - 1]
    return reason && new WireError(kernel.errorPlace(), reason(kernel.errorOne(), kernel.errorTwo()))
  }

  /** Memory that has grown is another buffer, and the one before is empty: to ask the memory for its buffer takes longer. */
  #refresh(): void {
    if (this.#bytes.length > 0) return
    const { buffer } = this.#exports.memory
    this.#bytes = new Uint8Array(buffer)
    this.#words = new Int32Array(buffer)
    this.#view = new DataView(buffer)
  }
}

/** By the numbers in assembly/fields.ts. */
const REASONS: readonly ((one: number, two: number) => string)[] = [
  () => 'a field number is 0',
  () => 'a field number is too large',
  (length) => `a length of ${length} runs past the end of its message`,
  () => 'a varint is longer than 10 bytes',
  () => 'the message ends inside a varint',
  (field, wire) => `field ${field} has wire type ${wire}, which it never has`,
  (wire) => `wire type ${wire} is not one that OTLP uses`,
  (size) => `the message ends inside a value of ${size} bytes`,
  (size, wanted) => `an id is ${size} bytes long, not ${wanted}`,
  () => `values nest deeper than ${MAX_DEPTH}`,
  () => 'too many empty elements for its size',
  () => 'it is larger than 1000 MiB',
]

const compiled = wasmModule(new URL('./scan.wasm', import.meta.url))

const NO_RECORDS = new Int32Array(0)

/** Small copies are cut from a slab, as Node does for small buffers: V8 allocates each of its own outside of its heap. */
const SLAB_BYTES = 64 * 1024
const SMALL_RECORDS = 512
let slab = new ArrayBuffer(SLAB_BYTES)
let slabUsed = 0

/** `length` of the words from `start` on. */
function copyOf(words: Int32Array, start: number, length: number): Int32Array {
  const bytes = length * Int32Array.BYTES_PER_ELEMENT
  if (length > SMALL_RECORDS) {
    const large = new Int32Array(POOL.take(bytes), 0, length)
    large.set(words.subarray(start, start + length))
    return large
  }
  if (slabUsed + bytes > SLAB_BYTES) {
    slab = new ArrayBuffer(SLAB_BYTES)
    slabUsed = 0
  }
  const copy = new Int32Array(slab, slabUsed, length)
  slabUsed += bytes
  for (let at = 0; at < length; at++) copy[at] = words[start + at]!
  return copy
}
