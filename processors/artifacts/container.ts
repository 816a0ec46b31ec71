import { createCipheriv, createDecipheriv } from 'node:crypto'
import { z } from 'zod'
import { reject } from '../../pipeline/fault.ts'
import type { Artifact, ArtifactName } from '../../pipeline/artifact.ts'
import type { TenantKey } from './tenant-keys.ts'

/**
 * An artifact as a file or object of ours:
 *
 *     0      8   "WEIRART1"
 *     8      4   bytes of the header, big-endian
 *     12     n   header, JSON: { tenant, sha256, size, media_type, key? }
 *     12+n       the value's bytes; with `key` (the id of the tenant's key) sealed by AES-256-GCM, 16 bytes of tag behind
 *                them, everything before them authenticated
 *
 * Each is sealed with a key of its own, derived (HKDF-SHA256) from the tenant's key, its SHA-256 and media type: the
 * nonce can be 0, and the same value is always the same bytes, so that putting it again changes nothing.
 */
const MAGIC = Buffer.from('WEIRART1')
const FIXED = MAGIC.length + 4
const NONCE = Buffer.alloc(12)
const TAG_BYTES = 16
const LARGEST_HEADER = 4096

const header = z.object({
  tenant: z.string(),
  sha256: z.string(),
  size: z.int().nonnegative(),
  media_type: z.string().max(256),
  key: z.string().optional(),
})
type Header = z.output<typeof header>

/** `key` undefined: in the clear. */
export function pack({ tenant, sha256 }: ArtifactName, artifact: Artifact, key?: TenantKey): Buffer {
  const { bytes, mediaType } = artifact
  const fields: Header = {
    tenant,
    sha256,
    size: bytes.length,
    media_type: mediaType,
    ...(key !== undefined && { key: key.id }),
  }
  const json = Buffer.from(JSON.stringify(fields))
  const length = Buffer.alloc(4)
  length.writeUInt32BE(json.length)
  const head = Buffer.concat([MAGIC, length, json])
  if (key === undefined) return Buffer.concat([head, bytes])
  const cipher = createCipheriv('aes-256-gcm', bodyKey(key, fields), NONCE)
  cipher.setAAD(head)
  return Buffer.concat([head, cipher.update(bytes), cipher.final(), cipher.getAuthTag()])
}

/** Throws SECRET_UNREADABLE (reject): it was changed, belongs elsewhere, or its key is not here. */
export function unpack({ tenant, sha256 }: ArtifactName, packed: Buffer, key?: TenantKey): Artifact {
  const { fields, end } = headerOf(packed)
  if (fields.tenant !== tenant || fields.sha256 !== sha256) throw changed()
  const body = packed.subarray(end)
  if (fields.key === undefined) return { bytes: body, mediaType: fields.media_type }
  if (key === undefined || key.id !== fields.key) {
    throw reject('SECRET_UNREADABLE', `an artifact of ${tenant} is sealed with a key that is not here`)
  }
  try {
    const decipher = createDecipheriv('aes-256-gcm', bodyKey(key, fields), NONCE, {
      authTagLength: TAG_BYTES,
    })
    decipher.setAAD(packed.subarray(0, end))
    decipher.setAuthTag(body.subarray(-TAG_BYTES))
    const bytes = Buffer.concat([decipher.update(body.subarray(0, -TAG_BYTES)), decipher.final()])
    return { bytes, mediaType: fields.media_type }
  } catch (cause) {
    throw changed(cause)
  }
}

function headerOf(packed: Buffer): { fields: Header; end: number } {
  if (packed.length < FIXED || !packed.subarray(0, MAGIC.length).equals(MAGIC)) throw changed()
  const length = packed.readUInt32BE(MAGIC.length)
  if (length > LARGEST_HEADER || FIXED + length > packed.length) throw changed()
  const end = FIXED + length
  try {
    return { fields: header.parse(JSON.parse(packed.toString('utf8', FIXED, end))), end }
  } catch (cause) {
    throw changed(cause)
  }
}

function bodyKey(key: TenantKey, { sha256, media_type }: Header): Buffer {
  return key.derive(`body ${media_type}`, Buffer.from(sha256, 'hex'))
}

function changed(cause?: unknown) {
  return reject('SECRET_UNREADABLE', 'an artifact was changed, or is not the one of its name', { cause })
}
