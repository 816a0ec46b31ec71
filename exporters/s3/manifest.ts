import type { ArchivedRange } from '../../pipeline/archive/archive.ts'
import type { Delivery } from '../../pipeline/component.ts'
import type { Config } from './config.ts'
import type { Part } from './partition.ts'

/** Format of manifests; readers refuse a newer one. */
export const MANIFEST_VERSION = 1

/** One object, as its manifest lists it. Times are Unix ns, as text. */
export interface StoredObject {
  readonly key: string
  readonly tenant: string
  readonly partition: string
  readonly rows: number
  /** Of the object as stored, compressed. */
  readonly bytes: number
  /** Hexadecimal, of the same bytes. */
  readonly sha256: string
  readonly first_time_unix_nano: string
  readonly last_time_unix_nano: string
}

/**
 * What a range became: written last, so that what it lists is whole, and what no manifest lists is from a delivery that
 * did not end. A function of the range and its spans alone, as the objects are: a repeat writes the same.
 */
export interface Manifest {
  readonly v: typeof MANIFEST_VERSION
  readonly signal: 'traces'
  readonly cursor: string
  /** First and last WAL sequence, inclusive. */
  readonly from: number
  readonly to: number
  readonly token: string
  readonly marshaler: Config['marshaler']
  readonly compression: Config['s3uploader']['compression']
  readonly rows: number
  readonly tenants: readonly string[]
  readonly first_time_unix_nano: string
  readonly last_time_unix_nano: string
  readonly objects: readonly StoredObject[]
}

const EXTENSIONS = { otlp_json: '.json', otlp_proto: '.binpb', parquet: '.parquet' } as const
const PACKED = { none: '', gzip: '.gz', zstd: '.zst' } as const

/** Names of one delivery's objects: the range and its token are in them, so that a repeat overwrites. */
export class Names {
  readonly #config: Config
  readonly #range: string

  /** `consume` without a WAL has no range: its name is the digest of what was received. */
  constructor(config: Config, { from, to, token }: Delivery['range']) {
    this.#config = config
    this.#range = from === 0 ? token : `${padded(from)}-${padded(to)}_${token}`
  }

  object({ tenant, partition }: Pick<Part, 'tenant' | 'partition'>): string {
    const { s3uploader, marshaler } = this.#config
    // Parquet compresses within.
    const packed = marshaler === 'parquet' ? '' : PACKED[s3uploader.compression]
    const name = `${s3uploader.file_prefix}traces_${this.#range}${EXTENSIONS[marshaler]}${packed}`
    return joined(s3uploader.s3_base_prefix, s3uploader.s3_prefix, `tenant=${tenant}`, partition, name)
  }

  manifest(cursor: string): string {
    const { s3_base_prefix: base, s3_prefix: prefix } = this.#config.s3uploader
    return joined(
      base,
      prefix,
      MANIFESTS,
      ...cursor.split('/').map(encodeURIComponent),
      `${this.#range}.json`,
    )
  }
}

/** Query engines leave out what begins with `_`. */
export const MANIFESTS = '_manifests'

/** Where a probe may write. */
export function probeKey({ s3uploader }: Config): string {
  return joined(s3uploader.s3_base_prefix, s3uploader.s3_prefix, MANIFESTS, '_probe')
}

/** What all keys of an exporter begin with; '' or without a slash at its end. */
export function rootOf({ s3uploader }: Config): string {
  return joined(s3uploader.s3_base_prefix, s3uploader.s3_prefix)
}

/** The cursor and range that a manifest is named after; undefined where it has none. */
export function rangeOf(key: string): ArchivedRange | undefined {
  const parts = key.split('/')
  const name = /^(\d{16})-(\d{16})_/.exec(parts.at(-1) ?? '')
  const cursor = parts.slice(parts.lastIndexOf(MANIFESTS) + 1, -1)
  if (name === null || cursor.length === 0) return undefined
  return {
    cursor: cursor.map(decodeURIComponent).join('/'),
    from: Number(name[1]),
    to: Number(name[2]),
  }
}

/** The part of an object's name that its manifest is named by; '' where it is none of ours. */
export function rangeNameOf({ s3uploader }: Config, key: string): string {
  const name = key.slice(key.lastIndexOf('/') + 1)
  const head = `${s3uploader.file_prefix}traces_`
  return name.startsWith(head) ? (name.slice(head.length).split('.', 1)[0] ?? '') : ''
}

/** Undefined where it is no manifest of a version that is known. */
export function parseManifest(body: Uint8Array): Manifest | undefined {
  try {
    const parsed = JSON.parse(Buffer.from(body).toString()) as Manifest
    return parsed.v === MANIFEST_VERSION && Array.isArray(parsed.objects) ? parsed : undefined
  } catch {
    return undefined
  }
}

/** What is left of a manifest without these objects; undefined: nothing. */
export function without(manifest: Manifest, gone: ReadonlySet<string>): Manifest | undefined {
  const objects = manifest.objects.filter(({ key }) => !gone.has(key))
  return objects.length === 0 ? undefined : { ...manifest, ...sumsOf(objects) }
}

export function manifestOf(
  config: Config,
  { cursor, range: { from, to, token } }: Pick<Delivery, 'cursor' | 'range'>,
  objects: readonly StoredObject[],
): Manifest {
  return {
    v: MANIFEST_VERSION,
    signal: 'traces',
    cursor,
    from,
    to,
    token,
    marshaler: config.marshaler,
    compression: config.s3uploader.compression,
    ...sumsOf(objects),
  }
}

function sumsOf(objects: readonly StoredObject[]) {
  const firsts = objects.map((object) => BigInt(object.first_time_unix_nano))
  const lasts = objects.map((object) => BigInt(object.last_time_unix_nano))
  return {
    rows: objects.reduce((sum, { rows }) => sum + rows, 0),
    tenants: [...new Set(objects.map(({ tenant }) => tenant))],
    first_time_unix_nano: String(firsts.reduce((a, b) => (a < b ? a : b), firsts[0] ?? 0n)),
    last_time_unix_nano: String(lasts.reduce((a, b) => (a > b ? a : b), 0n)),
    objects,
  }
}

function joined(...parts: readonly string[]): string {
  return parts.filter((part) => part !== '').join('/')
}

/** Sequences sort as texts. */
function padded(seq: number): string {
  return String(seq).padStart(16, '0')
}
