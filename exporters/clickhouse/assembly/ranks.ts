import { Bytes, setU32, u32At } from '../../../proto/assembly/bytes'
import { Dictionary } from './dictionary'

/** Where each text of a dictionary stands among all of them, by their bytes. */
@unmanaged
export class Ranks {
  texts: Dictionary
  private ranks: Bytes
  private sorted: Bytes
  private merged: Bytes

  constructor(texts: Dictionary) {
    this.texts = texts
    this.ranks = new Bytes()
    this.sorted = new Bytes()
    this.merged = new Bytes()
  }

  /** Of a row's text. */
  @inline
  of(row: u32): u32 {
    return u32At(this.ranks.start, u32At(this.texts.rows.start, row))
  }

  /** Once the dictionary has its texts: a merge sort of them. */
  find(): void {
    const count = this.texts.distinct
    let from = this.sorted.u32s(count)
    let to = this.merged.u32s(count)
    for (let i: u32 = 0; i < count; i++) setU32(from, i, i)
    for (let run: u32 = 1; run < count; run *= 2) {
      for (let begin: u32 = 0; begin < count; begin += run * 2) {
        this.merge(from, to, begin, min(begin + run, count), min(begin + run * 2, count))
      }
      const merged = to
      to = from
      from = merged
    }
    const ranks = this.ranks.u32s(count)
    for (let i: u32 = 0; i < count; i++) setU32(ranks, u32At(from, i), i)
  }

  /** Two sorted runs, [begin, middle) and [middle, end), into one. */
  private merge(from: usize, to: usize, begin: u32, middle: u32, end: u32): void {
    let left = begin
    let right = middle
    for (let at = begin; at < end; at++) {
      const isLeft =
        left < middle && (right === end || this.texts.compare(u32At(from, left), u32At(from, right)) < 0)
      setU32(to, at, u32At(from, isLeft ? left++ : right++))
    }
  }
}
