import type { Consumer } from './consumer.ts'

/** What is known of a request before its body is read. */
export interface Head {
  readonly transport: 'grpc' | 'http'
  /** Remote address, `ip:port`. */
  readonly peer: string
  readonly method: string
  /** Path with query; for gRPC `/package.Service/Method`. */
  readonly path: string
  /** All values of a header or metadata key (lower case), in order; empty when absent. */
  header(name: string): readonly string[]
  /** Peer certificate facts when the connection is TLS with a verified client certificate. */
  readonly clientCertificate?: { readonly raw: Uint8Array; readonly subjectAltNames: readonly string[] }
  readonly tls: boolean
  /** Content-Length where the transport gives one. */
  readonly declaredBytes?: number
}

/** What a processor's `admit` decides. Refusal is a thrown Fault. */
export interface Admission {
  readonly tenant?: string
  readonly project?: string
  readonly principal?: string
  /** Called with SHA-256 of the raw body, before it is inflated. Throws a Fault to refuse. */
  verify?(sha256: Uint8Array): void | Promise<void>
  /** Called once when the request has been answered, whatever the answer. */
  release?(): void
}

/** The admissions of a pipeline folded into one. Without `auth` the tenant is `default`. */
export interface Admitted {
  readonly tenant: string
  readonly project: string
  readonly principal: string
  /** True when some processor wants the digest of the raw body. */
  readonly wantsDigest: boolean
  verify(sha256: Uint8Array): Promise<void>
  release(): void
}

/** Where a receiver delivers: `admit` before the body is read, `consume` after. */
export interface Entry extends Consumer {
  /** True when some processor refuses senders that do not prove who they are: a receiver may then bind beyond loopback. */
  readonly authenticated?: boolean
  admit(head: Head): Promise<Admitted>
}

/** Tenant ids become subjects and paths. */
export const TENANT = /^[a-z0-9][a-z0-9_-]{0,62}$/
