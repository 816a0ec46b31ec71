import { TENANT } from './admission.ts'

/**
 * An artifact: a value that was moved out of its span, known by whose it is and by the SHA-256 of its bytes. What knows
 * of artifacts besides the processor that makes them, which are the API and the verbs, meets here.
 */
export interface ArtifactName {
  readonly tenant: string
  /** Hexadecimal, of the value's bytes. */
  readonly sha256: string
}

/** What is put behind the attribute's key; the attribute itself keeps a preview. */
export const ARTIFACT = {
  ref: '.artifact.ref',
  sha256: '.artifact.sha256',
  size: '.artifact.size',
  mediaType: '.artifact.media_type',
} as const

/** Lists and maps are kept as OTLP protobuf messages. */
export const LIST_TYPE = 'application/x-protobuf; messageType="opentelemetry.proto.common.v1.ArrayValue"'
export const MAP_TYPE = 'application/x-protobuf; messageType="opentelemetry.proto.common.v1.KeyValueList"'

const SCHEME = 'artifact://'
const SHA256 = /^[0-9a-f]{64}$/

export function artifactRef({ tenant, sha256 }: ArtifactName): string {
  return `${SCHEME}${tenant}/${sha256}`
}

/** `artifact://<tenant>/<sha256>`, with or without its scheme; undefined for anything else. */
export function parseArtifactRef(text: string): ArtifactName | undefined {
  const [tenant = '', sha256 = '', ...more] = (
    text.startsWith(SCHEME) ? text.slice(SCHEME.length) : text
  ).split('/')
  return more.length === 0 && TENANT.test(tenant) && SHA256.test(sha256) ? { tenant, sha256 } : undefined
}

/** Artifacts of one processor, to read. In the main process; `find` and what follows work from `start` on. */
export interface ArtifactShelf {
  /** The processor's. */
  readonly id: string
  /** Whether it is there. Faults: EXPORT_UNAVAILABLE (retry). */
  has(name: ArtifactName, signal: AbortSignal): Promise<boolean>
  /** What gives the bytes to whoever has it, without asking who that is, until `expiresMs`. */
  link(name: ArtifactName): Promise<ArtifactLink>
  /** False: no link of ours, or not any more. Says nothing of whether it is there. */
  honours(name: ArtifactName, query: URLSearchParams): Promise<boolean>
  /** Its bytes, found to be those of the name. Fault NOT_FOUND. */
  read(name: ArtifactName, signal: AbortSignal): Promise<Artifact>
}

export interface ArtifactLink {
  /** Of a store that can sign; undefined: the API serves it, at its own path with `query`. */
  readonly url?: string
  readonly query?: URLSearchParams
  readonly expiresMs: number
}

export interface Artifact {
  readonly bytes: Uint8Array
  readonly mediaType: string
}
