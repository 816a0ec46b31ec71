import { crc32 } from 'node:zlib'
import { reject } from '../fault.ts'
import type { OutgoingMessage, WalMessage } from './driver.ts'

/**
 * One record of the message table, little-endian:
 *   0 format u8 · 1 signal u8 · 2 tenant length u16 · 4 CRC-32 of everything behind it u32 · 8 time f64 (Unix ms)
 *   16 tenant · payload
 * One entry of the index table: 0 stored bytes f64 · 8 time f64 · 16 tenant
 */
const FORMAT = 1
const SIGNALS = ['traces'] as const
const HEAD = 16

export function recordBytes(message: OutgoingMessage): number {
  let bytes = HEAD + Buffer.byteLength(message.tenant)
  for (const part of message.parts) bytes += part.length
  return bytes
}

/** Writes the record into `target` (exactly `recordBytes` long). */
export function writeRecord(target: Buffer, message: OutgoingMessage, timeMs: number): void {
  const tenantBytes = target.write(message.tenant, HEAD)
  target[0] = FORMAT
  target[1] = SIGNALS.indexOf(message.signal)
  target.writeUInt16LE(tenantBytes, 2)
  target.writeDoubleLE(timeMs, 8)
  let at = HEAD + tenantBytes
  for (const part of message.parts) {
    target.set(part, at)
    at += part.length
  }
  target.writeUInt32LE(crc32(target.subarray(8)), 4)
}

/** Checks and opens a record. The bytes are a view of `record`. */
export function readRecord(seq: number, record: Buffer): WalMessage {
  if (record.length < HEAD || record.readUInt32LE(4) !== crc32(record.subarray(8))) throw corrupt(seq)
  const signal = SIGNALS[record[1] ?? SIGNALS.length]
  if (record[0] !== FORMAT || signal === undefined) throw corrupt(seq)
  const start = HEAD + record.readUInt16LE(2)
  return {
    seq,
    timeMs: record.readDoubleLE(8),
    signal,
    tenant: record.toString('utf8', HEAD, start),
    bytes: record.subarray(start),
  }
}

function corrupt(seq: number) {
  return reject('WAL_CORRUPT', `WAL message ${seq} does not match its checksum; it is skipped`)
}

export interface IndexEntry {
  /** Bytes this message takes in the file. */
  readonly bytes: number
  readonly timeMs: number
  readonly tenant: string
}

export function writeIndex(entry: IndexEntry): Buffer {
  const tenant = Buffer.from(entry.tenant)
  const target = Buffer.allocUnsafeSlow(HEAD + tenant.length)
  target.writeDoubleLE(entry.bytes, 0)
  target.writeDoubleLE(entry.timeMs, 8)
  tenant.copy(target, HEAD)
  return target
}

export function readIndex(value: Buffer): IndexEntry {
  return {
    bytes: value.readDoubleLE(0),
    timeMs: value.readDoubleLE(8),
    tenant: value.toString('utf8', HEAD),
  }
}

/**
 * Of new logs. LMDB checks its whole list of free pages in each commit, and the gaps between messages are in it: with pages of
 * 4 KiB that takes a quarter of LMDB's CPU for messages of 430 KB while 1000 are stored, with these a sixth. Larger ones
 * gain little more, and waste half a page per message.
 */
export const PAGE_BYTES = 8192
const PER_MESSAGE = 96

/**
 * What a record of `bytes` takes on disk, so that `max_bytes` bounds the file and not only its payload. Values above about
 * half a page leave their leaf and take whole pages (LMDB: at least two keys to a page).
 */
export function storedBytes(bytes: number, pageBytes: number): number {
  if (bytes <= pageBytes / 2 - 48) return bytes + PER_MESSAGE
  return Math.ceil((bytes + 24) / pageBytes) * pageBytes + PER_MESSAGE
}
