import { bufferOf } from './wire.ts'

/** A key of this many bytes or more is not interned by a scan, so the memory of a full interner is bounded. */
const LONGEST = 256
/** Steps along the table before a scan gives up: crafted collisions cost no more than this per attribute. */
const PROBES = 16

/**
 * Attribute keys by their bytes ↔ small ids from 1 up. 0 means "not interned".
 * A name that code asks for (`id`) always gets an id; names that a scan meets (`find`) get one until `limit` is reached.
 *
 * Layout: `words[start[id] ..]` holds the key's bytes as little-endian 32-bit words, the last one zero-padded, so a
 * comparison reads 4 bytes at a time; `table` is open addressing over ids.
 */
export class KeyInterner {
  readonly #limit: number
  readonly #byName = new Map<string, number>()
  #table: Int32Array
  #words: Int32Array = new Int32Array(4096)
  #used = 0
  #start: Int32Array = new Int32Array(512)
  #size: Int32Array = new Int32Array(512)
  #bytes: Buffer[] = []
  #names: (string | undefined)[] = []
  #count = 0

  constructor(limit: number) {
    this.#limit = limit
    this.#table = new Int32Array(2 << Math.ceil(Math.log2(limit + 1)))
    this.id('')
  }

  /** How many keys have an id. */
  get count(): number {
    return this.#count
  }

  /** The id of a name; made when absent. For names that code or config knows: not bounded by the limit. */
  id(name: string): number {
    const known = this.#byName.get(name)
    if (known !== undefined) return known
    const utf8 = Buffer.from(name)
    const view = new DataView(utf8.buffer, utf8.byteOffset, utf8.byteLength)
    const met = this.#lookup(view, 0, utf8.length, hash(view, 0, utf8.length))
    const id = met > 0 ? met : this.#add(view, 0, utf8.length)
    this.#byName.set(name, id)
    return id
  }

  name(id: number): string {
    const known = this.#names[id]
    if (known !== undefined) return known
    const bytes = this.#bytes[id]
    if (bytes === undefined) return ''
    const name = bytes.toString('utf8')
    this.#names[id] = name
    return name
  }

  /** The key's UTF-8 bytes; empty for an id that was never given. Do not write to them. */
  bytes(id: number): Uint8Array {
    return this.#bytes[id] ?? EMPTY
  }

  /** True when `view[pos, pos + size)` is the key `id`. */
  is(id: number, view: DataView, pos: number, size: number): boolean {
    if (id <= 0 || this.#size[id] !== size) return false
    const words = this.#words
    let w = this.#start[id]!
    const whole = pos + (size & ~3)
    let p = pos
    for (; p < whole; p += 4) if (view.getInt32(p, true) !== words[w++]) return false
    return (size & 3) === 0 || tail(view, p, size & 3) === words[w]
  }

  /** The id of the key at `view[pos, pos + size)`; made when there is room; 0 otherwise. */
  find(view: DataView, pos: number, size: number): number {
    const h = hash(view, pos, size)
    const id = this.#lookup(view, pos, size, h)
    if (id !== 0) return Math.max(id, 0)
    if (size >= LONGEST || this.#count >= this.#limit) return 0
    return this.#add(view, pos, size)
  }

  /** The id; 0 when there is room for it, -1 when the probes ran out. */
  #lookup(view: DataView, pos: number, size: number, h: number): number {
    const table = this.#table
    const mask = table.length - 1
    for (let i = 0; i < PROBES; i++) {
      const id = table[(h + i) & mask]!
      if (id === 0) return 0
      if (this.is(id, view, pos, size)) return id
    }
    return -1
  }

  #add(view: DataView, pos: number, size: number): number {
    const id = ++this.#count
    this.#bytes[id] = Buffer.from(bufferOf(new Uint8Array(view.buffer, view.byteOffset + pos, size)))
    if (id >= this.#start.length) {
      this.#start = grown(this.#start)
      this.#size = grown(this.#size)
    }
    const count = (size + 3) >> 2
    while (this.#used + count > this.#words.length) this.#words = grown(this.#words)
    this.#start[id] = this.#used
    this.#size[id] = size
    const whole = pos + (size & ~3)
    let p = pos
    for (; p < whole; p += 4) this.#words[this.#used++] = view.getInt32(p, true)
    if ((size & 3) !== 0) this.#words[this.#used++] = tail(view, p, size & 3)
    if (id * 2 > this.#table.length) this.#widen()
    this.#place(id, hash(view, pos, size))
    return id
  }

  #widen(): void {
    this.#table = new Int32Array(this.#table.length * 2)
    for (let id = 1; id < this.#count; id++) {
      const bytes = this.#bytes[id]!
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
      this.#place(id, hash(view, 0, bytes.length))
    }
  }

  #place(id: number, h: number): void {
    const mask = this.#table.length - 1
    for (let i = 0; ; i++) {
      const slot = (h + i) & mask
      if (this.#table[slot] === 0) {
        this.#table[slot] = id
        return
      }
    }
  }
}

const EMPTY = new Uint8Array(0)

/** Over every byte, four at a time. */
function hash(view: DataView, pos: number, size: number): number {
  let h = size
  const whole = pos + (size & ~3)
  let p = pos
  for (; p < whole; p += 4) h = Math.imul(h ^ view.getInt32(p, true), 0x9e3779b1) ^ (h >>> 15)
  if ((size & 3) !== 0) h = Math.imul(h ^ tail(view, p, size & 3), 0x9e3779b1)
  h ^= h >>> 16
  return (h ^ (h >>> 7)) >>> 0
}

/** The last 1 to 3 bytes as one word. */
function tail(view: DataView, pos: number, size: number): number {
  let word = view.getUint8(pos)
  if (size > 1) word |= view.getUint8(pos + 1) << 8
  if (size > 2) word |= view.getUint8(pos + 2) << 16
  return word
}

function grown(array: Int32Array): Int32Array {
  const larger = new Int32Array(array.length * 2)
  larger.set(array)
  return larger
}
