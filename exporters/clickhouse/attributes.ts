import { ATTR, type AttrRef } from '../../pipeline/batch/batch.ts'
import { FOREIGN, keyBytes, type KeyId } from '../../pipeline/batch/keys.ts'
import type { RawView } from '../../pipeline/batch/raw.ts'
import type { TableReader } from '../../pipeline/batch/table-reader.ts'
import type { Sink } from '../../proto/clickhouse/sink.ts'
import { ATTR_AT, foreignKey } from '../../proto/otlp/table.ts'
import { intAt } from '../../proto/wire.ts'
import type { MapColumn } from './block.ts'

/** Where a resource's map lies in the block that is being filled. */
export class Fragment {
  readonly keys: number[] = []
  /** Of its values, in the column's bytes. */
  start = 0
  end = 0
  service = 0
}

/** Attributes on their way into a Map column: keys by their interned id, values as the collector's `Value.AsString`. */
export class Attributes {
  readonly #map: MapColumn
  /** Key id → dictionary index + 1, for one filling of the block. */
  #indexes = new Uint32Array(256)
  #generation = -1

  constructor(map: MapColumn) {
    this.#map = map
  }

  add(raw: RawView, reader: TableReader, ref: number): void {
    this.value(raw, reader, ref, this.#map.values.sink)
    this.#map.keys.addIndex(this.keyIndex(raw.bytes, raw.table.attrs[ref * ATTR_AT.width]!))
  }

  addRange(raw: RawView, reader: TableReader, first: number, end: number): number {
    for (let ref = first; ref < end; ref++) this.add(raw, reader, ref)
    return end - first
  }

  addText(key: string, value: string): void {
    this.#map.keys.addIndex(this.#map.keys.indexOfText(key))
    this.#map.values.addText(value)
  }

  value(raw: RawView, reader: TableReader, ref: number, out: Sink): void {
    const { attrs } = raw.table
    const at = ref * ATTR_AT.width
    const offset = attrs[at + ATTR_AT.off]!
    const type = attrs[at + ATTR_AT.type]
    if (type === ATTR.string) {
      out.string(raw.bytes, offset, offset + attrs[at + ATTR_AT.len]!)
      return
    }
    const value = type === ATTR.int ? intAt(raw.bytes, offset) : Number.NaN
    if (Number.isSafeInteger(value)) out.integer(value)
    else out.text(reader.text(ref as AttrRef))
  }

  keyIndex(bytes: Uint8Array, key: number): number {
    const { keys } = this.#map
    if (key <= FOREIGN) {
      const [offset, length] = foreignKey(bytes, key)
      return keys.indexOfBytes(bytes, offset, offset + length)
    }
    if (this.#generation !== keys.generation) {
      this.#indexes.fill(0)
      this.#generation = keys.generation
    }
    if (key >= this.#indexes.length) this.#grow(key)
    let index = this.#indexes[key]!
    if (index === 0) {
      const name = keyBytes(key as KeyId)
      index = keys.indexOfBytes(name, 0, name.length) + 1
      this.#indexes[key] = index
    }
    return index - 1
  }

  #grow(key: number): void {
    const larger = new Uint32Array(Math.max(key + 1, this.#indexes.length * 2))
    larger.set(this.#indexes)
    this.#indexes = larger
  }
}
