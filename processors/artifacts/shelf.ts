import { createHmac, timingSafeEqual } from 'node:crypto'
import type { Artifact, ArtifactLink, ArtifactName, ArtifactShelf } from '../../pipeline/artifact.ts'
import type { Component } from '../../pipeline/component.ts'
import type { Context } from '../../pipeline/factory.ts'
import { Archive } from './archive.ts'
import type { Config } from './config.ts'
import type { TenantKey } from './tenant-keys.ts'

/** The processor's artifacts for the API. Links of ours carry shelf, expiry and an HMAC-SHA256 by the tenant's key. */
export class Shelf implements ArtifactShelf, Component {
  readonly id: string
  readonly #archive: Archive
  readonly #ttlMs: number
  readonly #clock: () => number

  constructor(config: Config, context: Context) {
    this.id = context.id
    this.#archive = new Archive(config, context, { looksFirst: true })
    this.#ttlMs = config.link_ttl
    this.#clock = context.clock
  }

  start(): Promise<void> {
    return this.#archive.start()
  }

  stop(): Promise<void> {
    this.#archive.place.stop()
    return Promise.resolve()
  }

  has(name: ArtifactName, signal: AbortSignal): Promise<boolean> {
    return this.#archive.has(name, signal)
  }

  async link(name: ArtifactName): Promise<ArtifactLink> {
    const expiresS = Math.floor((this.#clock() + this.#ttlMs) / 1000)
    const expiresMs = expiresS * 1000
    const url = await this.#archive.link(name, Math.floor(this.#ttlMs / 1000))
    if (url !== undefined) return { url, expiresMs }
    const signature = this.#sign(await this.#archive.keys.of(name.tenant), name, String(expiresS))
    const query = new URLSearchParams({
      shelf: this.id,
      expires: String(expiresS),
      signature: signature.toString('base64url'),
    })
    return { query, expiresMs }
  }

  async honours(name: ArtifactName, query: URLSearchParams): Promise<boolean> {
    const expires = query.get('expires') ?? ''
    if (query.get('shelf') !== this.id || !/^\d{1,12}$/.test(expires)) return false
    if (this.#clock() >= Number(expires) * 1000) return false
    const key = await this.#archive.keys.find(name.tenant)
    if (key === undefined) return false
    const given = Buffer.from(query.get('signature') ?? '', 'base64url')
    const wanted = this.#sign(key, name, expires)
    return given.length === wanted.length && timingSafeEqual(given, wanted)
  }

  read(name: ArtifactName, signal: AbortSignal): Promise<Artifact> {
    return this.#archive.read(name, signal)
  }

  #sign(key: TenantKey, { tenant, sha256 }: ArtifactName, expires: string): Buffer {
    return createHmac('sha256', key.derive('link'))
      .update([this.id, tenant, sha256, expires].join('\0'))
      .digest()
  }
}
