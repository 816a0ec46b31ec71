import { readFile } from 'node:fs/promises'
import { createLocalJWKSet, type JWK, type LocalJWKSet } from 'jose'
import { messageOf, retry } from '../../pipeline/fault.ts'
import type { Log } from '../../pipeline/telemetry/log.ts'
import type { Issuer } from './config.ts'

const FETCH_MS = 5000
const MAX_BYTES = 256 * 1024
const MAX_KEYS = 64
/** After an unknown key id, or a failure: whoever makes ids up must not make us ask the issuer each time. */
const COOL_MS = 30_000
/** Keys that could not be fetched again go on so long; tokens do not live much longer than an issuer that is down. */
const STALE_MS = 2 * 3600_000
const RETRY_MS = 2000

/** The public keys of one issuer: fetched once for all who wait, cached, bounded. */
export class Jwks {
  readonly #issuer: Issuer
  readonly #cacheMs: number
  readonly #log: Log
  #keys: LocalJWKSet | undefined
  #fetchedMs = -Infinity
  #triedMs = -Infinity
  #renewedMs = -Infinity
  #fetching: Promise<void> | undefined

  constructor(issuer: Issuer, cacheMs: number, log: Log) {
    this.#issuer = issuer
    this.#cacheMs = cacheMs
    this.#log = log
  }

  /** The keys to verify with; AUTH_UNAVAILABLE (retry) when none could be had. */
  async keys(): Promise<LocalJWKSet> {
    const nowMs = performance.now()
    const ageMs = nowMs - this.#fetchedMs
    if (this.#keys === undefined || ageMs > STALE_MS) await this.#refresh(RETRY_MS)
    else if (ageMs > this.#cacheMs) await this.#refresh(COOL_MS)
    if (this.#keys !== undefined && performance.now() - this.#fetchedMs <= STALE_MS) return this.#keys
    throw retry('AUTH_UNAVAILABLE', 'the keys to check this token with cannot be had now', RETRY_MS)
  }

  /** For a key id that is not among `known`: true when there are other keys now. Who comes during a fetch waits for it. */
  async renew(known: LocalJWKSet): Promise<boolean> {
    if (this.#keys !== known) return true
    if (this.#fetching === undefined) {
      if (performance.now() - this.#renewedMs < COOL_MS) return false
      this.#renewedMs = performance.now()
    }
    await this.#refresh(0)
    return this.#keys !== known
  }

  /** One fetch at a time, and none within `coolMs` of the last. */
  #refresh(coolMs: number): Promise<void> {
    if (this.#fetching !== undefined) return this.#fetching
    if (performance.now() - this.#triedMs < coolMs) return Promise.resolve()
    this.#triedMs = performance.now()
    this.#fetching = this.#load().finally(() => (this.#fetching = undefined))
    return this.#fetching
  }

  async #load(): Promise<void> {
    try {
      const { jwks_url: url, jwks_file: file } = this.#issuer
      const text = url === undefined ? await readFile(file ?? '', 'utf8') : await fetchText(url)
      this.#keys = createLocalJWKSet({ keys: publicKeys(text) })
      this.#fetchedMs = performance.now()
    } catch (error) {
      this.#log.warn(
        { issuer: this.#issuer.issuer, error: messageOf(error) },
        'The keys of an issuer cannot be had: its tokens are refused once the cached ones are too old',
      )
    }
  }
}

async function fetchText(url: string): Promise<string> {
  const signal = AbortSignal.timeout(FETCH_MS)
  const response = await fetch(url, { signal, redirect: 'error', headers: { accept: 'application/json' } })
  if (!response.ok) throw new Error(`${url} answered ${response.status}`)
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of response.body ?? []) {
    size += chunk.length
    if (size > MAX_BYTES) throw new Error(`${url} answered with more than ${MAX_BYTES} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

/** Symmetric keys have no business in a published set, and would turn a public text into a secret. */
function publicKeys(text: string): JWK[] {
  const { keys } = JSON.parse(text) as { keys?: unknown }
  if (!Array.isArray(keys)) throw new Error('this is no JWKS: it has no keys')
  if (keys.length > MAX_KEYS) throw new Error(`more than ${MAX_KEYS} keys`)
  return (keys as JWK[]).filter((key) => ['RSA', 'EC', 'OKP'].includes(String(key?.kty)))
}
