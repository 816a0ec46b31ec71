import { createHash, createPrivateKey, createPublicKey, sign, verify, type KeyObject } from 'node:crypto'

/**
 * A checkpoint: a signed note of C2SP (`tlog-checkpoint`, `signed-note`), which any verifier of those reads:
 *   <origin>\n<size>\n<base64 root>\n\n— <origin> <base64(key id ‖ signature)>\n
 * The key id is the first 4 bytes of SHA-256(origin ‖ 0x0A ‖ 0x01 ‖ public key); 0x01 is Ed25519.
 */
export interface Checkpoint {
  readonly origin: string
  readonly size: number
  /** SHA-256, 32 bytes. */
  readonly root: Buffer
}

const ALGORITHM = 1
/** Before the 32 bytes of an Ed25519 key: RFC 8410's SubjectPublicKeyInfo and PKCS #8. */
const SPKI_HEAD = Buffer.from('302a300506032b6570032100', 'hex')
const PKCS8_HEAD = Buffer.from('302e020100300506032b657004220420', 'hex')
const FORM = /^([^\n]+)\n(\d{1,16})\n([A-Za-z0-9+/=]{44})\n\n\u2014 (\S+) ([A-Za-z0-9+/=]+)\n$/

export function publicKeyOf(raw: Uint8Array): KeyObject {
  return createPublicKey({ key: Buffer.concat([SPKI_HEAD, raw]), format: 'der', type: 'spki' })
}

export function privateKeyOf(seed: Uint8Array): KeyObject {
  return createPrivateKey({ key: Buffer.concat([PKCS8_HEAD, seed]), format: 'der', type: 'pkcs8' })
}

/** The 32 bytes of the public key that belongs to a private one. */
export function rawPublicOf(key: KeyObject): Buffer {
  return createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(SPKI_HEAD.length)
}

/** Tells keys apart: the first 16 hex digits of its SHA-256. */
export function fingerprintOf(rawPublic: Uint8Array): string {
  return createHash('sha256').update(rawPublic).digest('hex').slice(0, 16)
}

export function signNote(checkpoint: Checkpoint, key: KeyObject, rawPublic: Uint8Array): string {
  const text = textOf(checkpoint)
  const signature = sign(undefined, Buffer.from(text), key)
  const signed = Buffer.concat([keyId(checkpoint.origin, rawPublic), signature]).toString('base64')
  return `${text}\n\u2014 ${checkpoint.origin} ${signed}\n`
}

/** The checkpoint if the note is whole and one of the keys has signed it; else what is wrong with it. */
export function openNote(note: string, keys: readonly Uint8Array[]): Checkpoint | string {
  const [, origin = '', size = '', root = '', name = '', signed = ''] = FORM.exec(note) ?? []
  if (origin === '') return 'it has not the form of a signed checkpoint'
  const checkpoint = { origin, size: Number(size), root: Buffer.from(root, 'base64') }
  const bytes = Buffer.from(signed, 'base64')
  const isCanonical =
    bytes.toString('base64') === signed && textOf(checkpoint) === note.split('\n\n')[0] + '\n'
  if (!isCanonical || name !== origin) return 'it has not the form of a signed checkpoint'
  const key = keys.find((each) => keyId(origin, each).equals(bytes.subarray(0, 4)))
  if (key === undefined) return 'no known key has signed it'
  const isGood = verify(undefined, Buffer.from(textOf(checkpoint)), publicKeyOf(key), bytes.subarray(4))
  return isGood ? checkpoint : 'its signature is wrong'
}

function textOf({ origin, size, root }: Checkpoint): string {
  return `${origin}\n${size}\n${root.toString('base64')}\n`
}

function keyId(origin: string, rawPublic: Uint8Array): Buffer {
  const hash = createHash('sha256')
    .update(`${origin}\n`)
    .update(Buffer.from([ALGORITHM]))
  return hash.update(rawPublic).digest().subarray(0, 4)
}
