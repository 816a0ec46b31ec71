import { BYTE_NEWLINE, type Newline } from './lines.ts'
import type { JsonlConfig } from './config.ts'

/** How the bytes of a file become UTF-8. */
export interface Encoding {
  readonly newline: Newline
  /** A line as UTF-8, without byte order mark; the same memory where nothing has to change. */
  utf8(line: Buffer): Buffer
}

const UTF8: Encoding = {
  newline: BYTE_NEWLINE,
  utf8: (line) => (hasUtf8Mark(line) ? line.subarray(3) : line),
}
const LATIN1: Encoding = { newline: BYTE_NEWLINE, utf8: (line) => Buffer.from(line.toString('latin1')) }
const LITTLE: Encoding = {
  newline: { width: 2, low: 0 },
  utf8: (line) => Buffer.from(withoutMark(line.subarray(0, line.length & ~1).toString('utf16le'))),
}
const BIG: Encoding = {
  newline: { width: 2, low: 1 },
  utf8: (line) =>
    Buffer.from(
      withoutMark(
        Buffer.from(line.subarray(0, line.length & ~1))
          .swap16()
          .toString('utf16le'),
      ),
    ),
}

/** `head`: the first bytes of the file, whose byte order mark tells one UTF-16 from the other (big without one). */
export function encodingOf(name: JsonlConfig['encoding'], head: Uint8Array): Encoding {
  if (name === 'utf-16') return head[0] === 0xff && head[1] === 0xfe ? LITTLE : BIG
  return BY_NAME[name]
}

const BY_NAME = {
  'utf-8': UTF8,
  utf8: UTF8,
  ascii: UTF8,
  latin1: LATIN1,
  'iso-8859-1': LATIN1,
  'utf-16le': LITTLE,
  'utf-16be': BIG,
} as const

function hasUtf8Mark(line: Buffer): boolean {
  return line[0] === 0xef && line[1] === 0xbb && line[2] === 0xbf
}

function withoutMark(text: string): string {
  return text.codePointAt(0) === 0xfeff ? text.slice(1) : text
}
