import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { link, mkdir, open, readFile, rm } from 'node:fs/promises'
import { randomUUID } from 'node:crypto'
import { dirname } from 'node:path'
import { z } from 'zod'
import { messageOf, reject, retry } from '../fault.ts'
import { sealed } from '../identity/records.ts'
import type { Vault } from '../identity/vault.ts'
import { decodeRecord } from '../identity/writes.ts'
import type { StateStore } from '../state/state.ts'
import { fingerprintOf, privateKeyOf, rawPublicOf, signNote, type Checkpoint } from './note.ts'
import { SIGNER } from './records.ts'

/** Signs checkpoints; who verifies needs `publicKey` only. */
export interface Signer {
  /** 32 bytes. */
  readonly publicKey: Buffer
  sign(checkpoint: Checkpoint): string
}

export interface SignerPlace {
  readonly state: StateStore
  readonly vault?: Vault | undefined
  /** Where the private key is when there is no vault; PEM, 0600. */
  readonly keyFile?: string | undefined
}

const base64 = z.string().regex(/^[A-Za-z0-9+/]{43}=$/)
/** Which key signs. `sealed`: its seed, under the master key; absent: it is in the key file of whoever signs. */
const record = z.strictObject({ v: z.literal(1), public: base64, sealed: sealed.optional() })
type SignerRecord = z.output<typeof record>

const CONTEXT = ['', 'audit', 'signer']

/** The public key of whoever signs this log; undefined where nobody does. */
export async function publicKeyIn(state: StateStore): Promise<Buffer | undefined> {
  const found = await read(state)
  return found && Buffer.from(found.record.public, 'base64')
}

/**
 * The key of this log, made at first use: sealed in state where there is a master key, else in the key file. Undefined
 * where there is neither: the log is then chained but not signed. Rejects with AUDIT_UNAVAILABLE where the log has a
 * key and this daemon cannot get at it: lines that it wrote without would look like an attacker's.
 */
export async function openSigner(place: SignerPlace): Promise<Signer | undefined> {
  const found = await read(place.state)
  if (found?.record.sealed !== undefined) return unseal(place, found.record)
  const inFile = place.keyFile === undefined ? undefined : await readKey(place.keyFile)
  if (found === undefined) return make(place, inFile)
  if (inFile === undefined || rawPublicOf(inFile).toString('base64') !== found.record.public) {
    throw retry(
      'AUDIT_UNAVAILABLE',
      `the audit log is signed by key ${fingerprint(found.record)}, which is not in ${place.keyFile ?? 'a key file'}: ` +
        'bring the file back, or set audit.key_file of the state extension to a copy of it',
    )
  }
  if (place.vault !== undefined) await moveToVault(place, found, inFile)
  return signerOf(inFile)
}

/** Seals the key anew after a change of the master key; false when there was nothing to do. */
export async function resealSigner(state: StateStore, vault: Vault): Promise<boolean> {
  const found = await read(state)
  if (found?.record.sealed === undefined || !vault.isOutdated(found.record.sealed)) return false
  const seed = vault.open(found.record.sealed, CONTEXT)
  const next = { ...found.record, sealed: vault.seal(seed, CONTEXT) }
  return (await state.update(SIGNER, encode(next), found.revision)) !== undefined
}

async function read(state: StateStore) {
  const entry = await state.get(SIGNER)
  if (entry === undefined) return undefined
  const decoded = decodeRecord(record, entry.value)
  if (decoded === undefined) throw reject('STATE_VERSION', 'the record of who signs the audit log is damaged')
  return { record: decoded, revision: entry.revision }
}

function unseal({ vault }: SignerPlace, { sealed: box, public: name }: SignerRecord): Signer {
  if (vault === undefined || box === undefined) {
    throw retry(
      'AUDIT_UNAVAILABLE',
      'the key that signs the audit log is sealed: the state extension needs its master_key',
    )
  }
  const signer = signerOf(privateKeyOf(vault.open(box, CONTEXT)))
  if (signer.publicKey.toString('base64') === name) return signer
  throw reject('SECRET_UNREADABLE', 'the key that signs the audit log is not the one that its record names')
}

/** Of several that make one at once, the first in the state store is the log's. */
async function make(place: SignerPlace, inFile: KeyObject | undefined): Promise<Signer | undefined> {
  const { state, vault, keyFile } = place
  if (vault === undefined && keyFile === undefined) return undefined
  const key = inFile ?? generateKeyPairSync('ed25519').privateKey
  const inPlace = vault !== undefined || keyFile === undefined ? key : await keepKey(keyFile, key)
  const name = rawPublicOf(inPlace).toString('base64')
  const made: SignerRecord = {
    v: 1,
    public: name,
    ...(vault && { sealed: vault.seal(seedOf(inPlace), CONTEXT) }),
  }
  if ((await state.create(SIGNER, encode(made))) === undefined) return openSigner(place)
  return signerOf(inPlace)
}

async function moveToVault(
  { state, vault, keyFile }: SignerPlace,
  found: { readonly record: SignerRecord; readonly revision: number },
  key: KeyObject,
): Promise<void> {
  if (vault === undefined || keyFile === undefined) return
  const next: SignerRecord = { ...found.record, sealed: vault.seal(seedOf(key), CONTEXT) }
  if ((await state.update(SIGNER, encode(next), found.revision)) !== undefined)
    await rm(keyFile, { force: true })
}

async function readKey(file: string): Promise<KeyObject | undefined> {
  try {
    return privateKeyOf(Buffer.from((await readFile(file, 'utf8')).trim(), 'base64'))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw retry('AUDIT_UNAVAILABLE', `the audit log's key file ${file} cannot be read: ${messageOf(error)}`)
  }
}

/** Whole or not at all, and never over another one: the key that is in the file afterwards. */
async function keepKey(file: string, key: KeyObject): Promise<KeyObject> {
  const draft = `${file}.${randomUUID()}`
  try {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 })
    const handle = await open(draft, 'wx', 0o600)
    try {
      await handle.writeFile(`${seedOf(key).toString('base64')}\n`)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await link(draft, file).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
    })
    return (await readKey(file)) ?? key
  } catch (error) {
    throw retry(
      'AUDIT_UNAVAILABLE',
      `the audit log's key cannot be kept in ${file}: ${messageOf(error)}`,
      undefined,
      {
        cause: error,
      },
    )
  } finally {
    await rm(draft, { force: true })
  }
}

function signerOf(key: KeyObject): Signer {
  const publicKey = rawPublicOf(key)
  return { publicKey, sign: (checkpoint) => signNote(checkpoint, key, publicKey) }
}

function seedOf(key: KeyObject): Buffer {
  return key.export({ format: 'der', type: 'pkcs8' }).subarray(-32)
}

function fingerprint({ public: name }: SignerRecord): string {
  return fingerprintOf(Buffer.from(name, 'base64'))
}

function encode(value: SignerRecord): Buffer {
  return Buffer.from(JSON.stringify(value))
}
