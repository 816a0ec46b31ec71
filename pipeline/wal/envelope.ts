import { crc32 } from 'node:zlib'
import { reject } from '../fault.ts'

/**
 * A WAL message: members (one per request, or per part of a split one), then their OTLP bytes back to back, which
 * together are one valid OTLP request. All members have the message's tenant and signal. Little endian:
 *
 *     0  magic 'weir'
 *     4  u8   format version
 *     5  u8   signal (1 traces)
 *     6  u16  0
 *     8  u32  CRC-32 of bytes 12 to the OTLP bytes; those are under the driver's own checksum
 *    12  u32  number of strings
 *    16  u32  number of members
 *    20  u32  offset of the OTLP bytes
 *    24  strings: u32 length, UTF-8
 *        members, 48 bytes each:
 *          0 digest (16) · 16 f64 receive time, Unix ms · 24 u32 part · 28 u32 first row of the part
 *         32 u32 spans · 36 u32 length · 40 u16 principal · 42 u16 project · 44 u16 source · 46 u16 bits 1: last part, 2: the
 *         source has a NUL and the cursor behind it that alone reads the member
 *        OTLP bytes
 *
 * principal, project and source are indexes into the strings. */
export const ENVELOPE_VERSION = 1
const MAGIC = 0x72696577 // 'weir'
const HEAD = 24
const MEMBER = 48
const CHECKED_FROM = 12
const LAST = 1
const ONLY = 2

/** Members that one message may have: three string indexes each fit u16. */
export const MAX_MEMBERS = 16_384

export interface Member {
  /** `BatchMeta.digest`: 16 bytes. */
  readonly digest: Uint8Array
  /** 0-based; a request that was not split is its part 0 with `firstRow` 0. */
  readonly part: number
  /** Rows of the request before this part: with `spans` it says exactly what the part holds. */
  readonly firstRow: number
  /** The request's last part: with all before it the request is whole. */
  readonly last: boolean
  readonly principal: string
  readonly project: string
  readonly source: string
  /** The one cursor that reads it; absent: all do. */
  readonly only?: string | undefined
  readonly receivedAtMs: number
  readonly spans: number
  /** OTLP request. Decoded: a view into the message. */
  readonly bytes: Uint8Array
}

/** The parts of the message, in order: a header and every member's bytes, uncopied. */
export function encodeEnvelope(members: readonly Member[]): Uint8Array[] {
  const strings = new Map<string, number>()
  for (const member of members) {
    note(strings, member.principal)
    note(strings, member.project)
    note(strings, sourceText(member))
  }
  const texts = Array.from(strings.keys(), (text) => Buffer.from(text))
  const textBytes = texts.reduce((sum, text) => sum + 4 + text.length, 0)
  const header = Buffer.allocUnsafe(HEAD + textBytes + members.length * MEMBER)
  header.writeUInt32LE(MAGIC, 0)
  header.writeUInt8(ENVELOPE_VERSION, 4)
  header.writeUInt8(1, 5)
  header.writeUInt16LE(0, 6)
  header.writeUInt32LE(texts.length, 12)
  header.writeUInt32LE(members.length, 16)
  header.writeUInt32LE(header.length, 20)
  let at = HEAD
  for (const text of texts) {
    header.writeUInt32LE(text.length, at)
    at += 4 + text.copy(header, at + 4)
  }
  const parts: Uint8Array[] = [header]
  for (const member of members) {
    writeMember(header, at, member, strings)
    parts.push(member.bytes)
    at += MEMBER
  }
  header.writeUInt32LE(crc32(header.subarray(CHECKED_FROM)), 8)
  return parts
}

function note(strings: Map<string, number>, text: string): void {
  if (!strings.has(text)) strings.set(text, strings.size)
}

function writeMember(out: Buffer, at: number, member: Member, strings: ReadonlyMap<string, number>): void {
  out.set(member.digest, at)
  out.writeDoubleLE(member.receivedAtMs, at + 16)
  out.writeUInt32LE(member.part, at + 24)
  out.writeUInt32LE(member.firstRow, at + 28)
  out.writeUInt32LE(member.spans, at + 32)
  out.writeUInt32LE(member.bytes.length, at + 36)
  out.writeUInt16LE(strings.get(member.principal)!, at + 40)
  out.writeUInt16LE(strings.get(member.project)!, at + 42)
  out.writeUInt16LE(strings.get(sourceText(member))!, at + 44)
  out.writeUInt16LE((member.last ? LAST : 0) | (member.only === undefined ? 0 : ONLY), at + 46)
}

/** Upper bound of what an envelope of one such member adds to its bytes: UTF-8 has at most 3 bytes per UTF-16 unit. */
export function envelopeOverhead(names: Pick<Member, 'principal' | 'project' | 'source' | 'only'>): number {
  const { principal, project, source, only } = names
  const own = only === undefined ? 0 : only.length + 1
  return HEAD + MEMBER + 12 + 3 * (principal.length + project.length + source.length + own)
}

function sourceText({ source, only }: Pick<Member, 'source' | 'only'>): string {
  return only === undefined ? source : `${source}\0${only}`
}

/** Throws STATE_VERSION for a format of a newer weir, WAL_CORRUPT for anything that does not add up. */
export function decodeEnvelope(message: Uint8Array, seq: number): Member[] {
  const bytes = Buffer.from(message.buffer, message.byteOffset, message.length)
  if (bytes.length < HEAD || bytes.readUInt32LE(0) !== MAGIC) throw corrupt(seq, 'it is no envelope')
  const version = bytes.readUInt8(4)
  if (version !== ENVELOPE_VERSION) {
    throw reject(
      'STATE_VERSION',
      `WAL message ${seq} has envelope format ${version}; this weir reads up to ${ENVELOPE_VERSION}: run the newer version`,
    )
  }
  const checked = bytes.subarray(CHECKED_FROM, bytes.readUInt32LE(20))
  if (crc32(checked) !== bytes.readUInt32LE(8)) throw corrupt(seq, 'checksum')
  if (bytes.readUInt8(5) !== 1) throw corrupt(seq, `unknown signal ${bytes.readUInt8(5)}`)
  try {
    return readMembers(bytes)
  } catch (error) {
    // Only a writer's bug gets here: the checksum held.
    throw corrupt(seq, 'lengths', error)
  }
}

function readMembers(bytes: Buffer): Member[] {
  const strings: string[] = []
  let at = HEAD
  for (let left = bytes.readUInt32LE(12); left > 0; left--) {
    const length = bytes.readUInt32LE(at)
    strings.push(bytes.subarray(at + 4, within(at + 4 + length, bytes)).toString())
    at += 4 + length
  }
  const members: Member[] = []
  let payload = within(bytes.readUInt32LE(20), bytes)
  for (let left = bytes.readUInt32LE(16); left > 0; left--, at += MEMBER) {
    const length = bytes.readUInt32LE(at + 36)
    const flags = bytes.readUInt16LE(at + 46)
    const source = strings[bytes.readUInt16LE(at + 44)] ?? ''
    const end = (flags & ONLY) === 0 ? source.length : source.lastIndexOf('\0')
    members.push({
      digest: bytes.subarray(at, at + 16),
      receivedAtMs: bytes.readDoubleLE(at + 16),
      part: bytes.readUInt32LE(at + 24),
      firstRow: bytes.readUInt32LE(at + 28),
      last: (flags & LAST) !== 0,
      spans: bytes.readUInt32LE(at + 32),
      principal: strings[bytes.readUInt16LE(at + 40)] ?? '',
      project: strings[bytes.readUInt16LE(at + 42)] ?? '',
      source: source.slice(0, end),
      only: (flags & ONLY) === 0 ? undefined : source.slice(end + 1),
      bytes: bytes.subarray(payload, within(payload + length, bytes)),
    })
    payload += length
  }
  if (payload !== bytes.length) throw new RangeError(`${bytes.length - payload} bytes left over`)
  return members
}

function within(offset: number, bytes: Buffer): number {
  if (offset > bytes.length) throw new RangeError(`offset ${offset} of ${bytes.length}`)
  return offset
}

function corrupt(seq: number, what: string, cause?: unknown) {
  return reject('WAL_CORRUPT', `WAL message ${seq} is damaged (${what})`, { cause })
}
