import { ATTR, type AttrRef, type Batch } from '../../pipeline/batch/batch.ts'
import { LIST_TYPE, MAP_TYPE } from '../../pipeline/artifact.ts'

const TEXT_TYPE = 'text/plain; charset=utf-8'
const OCTETS = 'application/octet-stream'

/** How files begin that models are sent and send. Offset → bytes, as latin-1. */
const SIGNATURES: readonly (readonly [type: string, ...parts: readonly (readonly [number, string])[]])[] = [
  ['image/png', [0, '\x89PNG\r\n\x1a\n']],
  ['image/jpeg', [0, '\xff\xd8\xff']],
  ['image/gif', [0, 'GIF8']],
  ['image/webp', [0, 'RIFF'], [8, 'WEBP']],
  ['audio/wav', [0, 'RIFF'], [8, 'WAVE']],
  ['audio/mpeg', [0, 'ID3']],
  ['audio/ogg', [0, 'OggS']],
  ['audio/flac', [0, 'fLaC']],
  ['video/mp4', [4, 'ftyp']],
  ['video/webm', [0, '\x1aE\xdf\xa3']],
  ['application/pdf', [0, '%PDF-']],
  ['application/zip', [0, 'PK\x03\x04']],
  ['application/gzip', [0, '\x1f\x8b\x08']],
]

/** By the kind of the value; of bytes by how they begin. */
export function mediaTypeOf(batch: Batch, ref: AttrRef): string {
  switch (batch.type(ref)) {
    case ATTR.string:
      return TEXT_TYPE
    case ATTR.array:
      return LIST_TYPE
    case ATTR.kvlist:
      return MAP_TYPE
    case ATTR.bytes:
    case ATTR.bool:
    case ATTR.int:
    case ATTR.double:
    case ATTR.empty:
      break
  }
  return signedType(Buffer.from(batch.content(ref).subarray(0, 16)).toString('latin1'))
}

function signedType(start: string): string {
  const found = SIGNATURES.find(([, ...parts]) => parts.every(([at, text]) => start.startsWith(text, at)))
  return found?.[0] ?? OCTETS
}

/** What stays in the span: the beginning of a text, or of a list or map as JSON; of bytes what they are. */
export function previewOf(batch: Batch, ref: AttrRef, mediaType: string, limit: number): string {
  const type = batch.type(ref)
  if (type === ATTR.bytes) return `[${batch.size(ref)} bytes of ${mediaType}]`
  const content = type === ATTR.string ? batch.content(ref) : Buffer.from(batch.text(ref))
  return beginning(content, limit)
}

/** At most `limit` bytes of UTF-8, whole characters. */
function beginning(utf8: Uint8Array, limit: number): string {
  let end = Math.min(limit, utf8.length)
  if (end < utf8.length) while (end > 0 && ((utf8[end] ?? 0) & 0xc0) === 0x80) end--
  return Buffer.from(utf8.buffer, utf8.byteOffset, end).toString('utf8')
}
