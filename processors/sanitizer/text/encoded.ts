import { unescaped } from './json.ts'
import type { Edit } from './edits.ts'

/** Text inside text: base64, percent-encoding, `\u0040` outside JSON. What comes back is encoded as it was. */

type Inner = (decoded: string, key: string) => string | undefined

const RUN = /[A-Za-z0-9+/_-]{16,}={0,2}/g
/** Bytes that are looked at before a run is decoded whole. */
const PROBE = 12

export function base64Edits(
  text: string,
  inner: Inner,
  isFree: (start: number, end: number) => boolean,
): Edit[] {
  const edits: Edit[] = []
  for (const match of text.matchAll(RUN)) {
    for (const start of starts(match[0])) {
      const run = match[0].slice(start)
      const from = match.index + start
      const end = from + run.length
      const decoded = isFree(from, end) ? textOf(run) : undefined
      if (decoded === undefined) continue
      const edited = inner(decoded, '')
      if (edited === undefined) continue
      edits.push({ start: from, end, text: encodedLike(run, edited) })
      break
    }
  }
  return edits
}

/** A run may begin with the end of a path or of a name. */
function starts(run: string): number[] {
  const found = [0]
  for (let i = run.length - 16; i > 0 && found.length < 8; i--) if (/[/_-]/.test(run[i - 1]!)) found.push(i)
  return found
}

/** The decoded text, if it is text. */
function textOf(run: string): string | undefined {
  const probe = Buffer.from(run.slice(0, 16), 'base64')
  if (!looksLikeText(probe.subarray(0, PROBE))) return undefined
  const bytes = Buffer.from(run, 'base64')
  const decoded = bytes.toString('utf8')
  return decoded.includes('\ufffd') || hasControls(bytes) ? undefined : decoded
}

function hasControls(bytes: Uint8Array): boolean {
  return bytes.some((byte) => byte === 0x7f || (byte < 0x20 && byte !== 9 && byte !== 10 && byte !== 13))
}

/** ASCII without control characters, or lead and continuation bytes of UTF-8. */
function looksLikeText(bytes: Uint8Array): boolean {
  let pending = 0
  for (const byte of bytes) {
    if (pending > 0) {
      if ((byte & 0xc0) !== 0x80) return false
      pending--
    } else if (byte < 0x80) {
      if (byte === 0x7f || (byte < 0x20 && byte !== 9 && byte !== 10 && byte !== 13)) return false
    } else if (byte < 0xc2 || byte > 0xf4) return false
    else pending = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3
  }
  return true
}

/** In the alphabet and with the padding that the original had. */
function encodedLike(run: string, text: string): string {
  const isUrl = /[-_]/.test(run) || (!/[+/=]/.test(run) && run.length % 4 !== 0)
  const encoded = Buffer.from(text).toString(isUrl ? 'base64url' : 'base64')
  return run.endsWith('=') && isUrl ? encoded.padEnd(Math.ceil(encoded.length / 4) * 4, '=') : encoded
}

const EDGE = /[\s"'<>&?=;,#`]/
const LONGEST = 65_536

/** Components of URLs and form bodies that have `%XX` in them. */
export function percentEdits(text: string, inner: Inner): Edit[] {
  return tokenEdits(
    text,
    '%',
    (token) => {
      try {
        return decodeURIComponent(token.replaceAll('+', ' '))
      } catch {
        return token.replace(/%([0-7][0-9A-Fa-f])/g, (_, hex: string) =>
          String.fromCharCode(Number.parseInt(hex, 16)),
        )
      }
    },
    encodeURIComponent,
    inner,
  )
}

/** Words with escapes of JSON in them, where no JSON is around. */
export function escapeEdits(text: string, inner: Inner): Edit[] {
  return tokenEdits(text, '\\u00', unescaped, (edited) => edited, inner)
}

function tokenEdits(
  text: string,
  mark: string,
  decode: (token: string) => string,
  encode: (text: string) => string,
  inner: Inner,
): Edit[] {
  const edits: Edit[] = []
  let done = 0
  for (let at = text.indexOf(mark); at >= 0; at = text.indexOf(mark, Math.max(done, at + 1))) {
    let start = at
    while (start > done && at - start < LONGEST && !EDGE.test(text[start - 1]!)) start--
    let end = at
    while (end < text.length && end - at < LONGEST && !EDGE.test(text[end]!)) end++
    done = Math.max(end, at + 1)
    const token = text.slice(start, end)
    const decoded = decode(token)
    if (decoded === token) continue
    const edited = inner(decoded, nameBefore(text, start))
    if (edited !== undefined) edits.push({ start, end, text: encode(edited) })
  }
  return edits
}

/** `name` of `name=` before the component. */
function nameBefore(text: string, at: number): string {
  if (text[at - 1] !== '=') return ''
  return /[\w.-]{1,64}$/.exec(text.slice(Math.max(0, at - 65), at - 1))?.[0] ?? ''
}
