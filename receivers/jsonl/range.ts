import { hash } from 'node:crypto'
import type { CheckedEvent } from '../../pipeline/agent/check.ts'
import type { Rejection } from '../../pipeline/consumer.ts'
import { scan } from '../../proto/otlp/scan.ts'
import { KEYS } from '../../pipeline/batch/keys.ts'
import type { Decoder, Range as Place } from './decode.ts'
import type { Encoding } from './encoding.ts'
import type { Unreadable } from './letters.ts'
import { lineEnd } from './lines.ts'
import { LineError } from './line-error.ts'

export interface DecodedRange {
  readonly bytes: Buffer
  readonly events: readonly CheckedEvent[]
  readonly unreadable: readonly Unreadable[]
}

/** Whole lines of a file, from `offset` on. The bytes belong to the reader: valid until it reads again. */
export class Range {
  readonly offset: number
  readonly bytes: Buffer
  readonly #encoding: Encoding

  constructor(offset: number, bytes: Buffer, encoding: Encoding) {
    this.offset = offset
    this.bytes = bytes
    this.#encoding = encoding
  }

  get end(): number {
    return this.offset + this.bytes.length
  }

  get isSingle(): boolean {
    return this.#lineAt(0) === this.bytes.length
  }

  /** Its first lines: about half of the bytes, at least one line, and never all of several. */
  half(): Range {
    let end = this.#lineAt(0)
    for (let next = end; next < this.bytes.length / 2;) {
      end = next
      next = this.#lineAt(next)
    }
    return new Range(this.offset, this.bytes.subarray(0, end), this.#encoding)
  }

  decode(decoder: Decoder, place: Place): DecodedRange {
    const spans = decoder.range(place)
    const unreadable: Unreadable[] = []
    this.#each((line, from, to) => {
      const reason = reasonOf(() => spans.add(line, this.offset + from))
      if (reason !== undefined) this.#note(unreadable, reason, from, to)
    })
    for (const each of unreadable) this.#seal(each)
    return { ...spans.take(), unreadable }
  }

  /** The lines of rows that the pipeline will not store. */
  linesOf(rejected: readonly Rejection[], decoder: Decoder, place: Place): Unreadable[] {
    if (rejected.length === 0) return []
    const reasons = new Map(rejected.flatMap(({ rows, reason }) => rows.map((row) => [row, reason] as const)))
    const found: Unreadable[] = []
    let row = 0
    this.#each((line, from, to) => {
      const spans = decoder.range(place)
      if (reasonOf(() => spans.add(line, this.offset + from)) !== undefined) return
      const { rows } = scan(spans.take().bytes, KEYS)
      const reason = Array.from({ length: rows }, (_, at) => reasons.get(row + at)).find(
        (one) => one !== undefined,
      )
      row += rows
      if (reason !== undefined) this.#note(found, reason, from, to)
    })
    for (const each of found) this.#seal(each)
    return found
  }

  /** Lines as UTF-8 without their newline; blank ones are passed over. */
  #each(visit: (line: Buffer, from: number, to: number) => void): void {
    for (let from = 0; from < this.bytes.length;) {
      const to = this.#lineAt(from)
      const line = trimmed(this.#encoding.utf8(this.bytes.subarray(from, to)))
      if (line.length > 0) visit(line, from, to)
      from = to
    }
  }

  #lineAt(from: number): number {
    const end = lineEnd(this.bytes, from, this.bytes.length, this.#encoding.newline)
    return end < 0 ? this.bytes.length : end
  }

  /** Neighbours with one reason share a letter. */
  #note(unreadable: Unreadable[], reason: string, from: number, to: number): void {
    const last = unreadable.at(-1)
    const offset = this.offset + from
    if (last !== undefined && last.reason === reason && last.offset + last.length === offset) {
      last.length += to - from
      last.lines++
    } else unreadable.push({ offset, length: to - from, lines: 1, reason, sha256: '' })
  }

  #seal(unreadable: Unreadable): void {
    const from = unreadable.offset - this.offset
    unreadable.sha256 = hash('sha256', this.bytes.subarray(from, from + unreadable.length), 'hex')
  }
}

function reasonOf(work: () => void): string | undefined {
  try {
    work()
    return undefined
  } catch (error) {
    return error instanceof LineError ? error.message : 'weir failed on it'
  }
}

/** Without newline, carriage return and blanks at the end. */
function trimmed(line: Buffer): Buffer {
  let end = line.length
  while (end > 0 && line[end - 1]! <= 0x20) end--
  return line.subarray(0, end)
}
