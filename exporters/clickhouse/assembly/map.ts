import { Bytes } from '../../../proto/assembly/bytes'
import { Dictionary } from './dictionary'
import { doubleAt, doubleText } from './doubles'
import { Column, gatherEnds, gatherRuns } from './gather'
import { keyBytes, valueText } from './host'
import { ATTR_KEY, ATTR_LEN, ATTR_OFF, ATTR_TYPE, ATTR_WIDTH } from '../../../proto/otlp/assembly/table'
import { Request, varint } from './request'

const STRING = 1
const BOOL = 2
const INT = 3
const DOUBLE = 4

/** Map(LowCardinality(String), String): attributes, keys by their interned id, values as the collector's `Value.AsString`. */
@unmanaged
export class MapColumn {
  keys: Dictionary
  values: Column
  offsets: Column
  /** Where the values of each row end, in bytes (u32). */
  private valueEnds: Bytes
  private elements: u64
  /** Key id → dictionary index + 1, for one filling of the block. */
  private ids: Bytes

  constructor() {
    this.keys = new Dictionary()
    this.values = new Column()
    this.offsets = new Column()
    this.valueEnds = new Bytes()
    this.ids = new Bytes()
    this.elements = 0
  }

  clear(): void {
    this.keys.clear()
    this.values.clear()
    this.offsets.clear()
    this.valueEnds.clear()
    this.elements = 0
    memory.fill(this.ids.start, 0, this.ids.length)
  }

  @inline
  add(request: Request, ref: i32): void {
    this.value(request, ref)
    this.keys.addIndex(this.keyIndex(request, ref))
  }

  /** A row of its own. */
  row(request: Request, first: i32, end: i32): void {
    for (let ref = first; ref < end; ref++) this.add(request, ref)
    this.endRow(end - first)
  }

  @inline
  endRow(elements: i32): void {
    this.elements += elements
    this.offsets.u64(this.elements)
    this.valueEnds.u32(this.values.length)
  }

  finish(order: Bytes): void {
    gatherRuns(this.values, this.valueEnds, order)
    gatherEnds(this.offsets, order)
    this.keys.finishElements(this.offsets, order)
  }

  value(request: Request, ref: i32): void {
    const at = request.attrs + <usize>ref * ATTR_WIDTH
    const type = load<i32>(at, ATTR_TYPE)
    const source = request.bytes + load<i32>(at, ATTR_OFF)
    if (type === STRING) this.values.string(source, load<u32>(at, ATTR_LEN))
    else if (type === INT) this.values.decimal(varint(source))
    else if (type === BOOL) this.truth(varint(source) !== 0)
    else if (type === DOUBLE) {
      const size = doubleText(request, ref, load<u64>(source))
      this.values.string(doubleAt, size)
    } else {
      // First: it may move the scratch area.
      const size = valueText(ref)
      this.values.string(request.scratch.start, size)
    }
  }

  private truth(value: bool): void {
    const at = this.values.reserve(6)
    // 4 "true", 5 "false"
    store<u64>(at, value ? 0x65757274_04 : 0x65736c6166_05)
    this.values.end = at + (value ? 5 : 6)
  }

  keyIndex(request: Request, ref: i32): u32 {
    const key = load<i32>(request.attrs + <usize>ref * ATTR_WIDTH, ATTR_KEY)
    if (key <= 0) return this.foreignIndex(request.bytes - 1 - key)
    const slot = (<usize>key) << 2
    if (slot >= <usize>this.ids.length) this.widen(slot)
    const known = load<u32>(this.ids.start + slot)
    if (known !== 0) return known - 1
    const size = keyBytes(key)
    const index = this.keys.index(request.scratch.start, size)
    store<u32>(this.ids.start + slot, index + 1)
    return index
  }

  /** The key stands where `at` tells, behind its length. */
  private foreignIndex(at: usize): u32 {
    let from = at
    while (load<u8>(from++) >= 128) {}
    return this.keys.index(from, <u32>varint(at))
  }

  private widen(slot: usize): void {
    const used = <usize>this.ids.length
    const size = (slot + 4) * 2
    this.ids.reserve(size - used)
    memory.fill(this.ids.start + used, 0, size - used)
    this.ids.end = this.ids.start + size
  }
}
