import { readFile } from 'node:fs/promises'
import type { Socket } from 'node:net'
import {
  createServer,
  TLSSocket,
  type PeerCertificate,
  type SecureContextOptions,
  type SecureVersion,
  type Server,
} from 'node:tls'
import { z } from 'zod'
import { messageOf, reject } from '../fault.ts'
import { duration, secret } from '../schema.ts'
import type { Secret } from '../secret.ts'
import type { Log } from '../telemetry/log.ts'

export const VERSIONS = {
  '1.0': 'TLSv1',
  '1.1': 'TLSv1.1',
  '1.2': 'TLSv1.2',
  '1.3': 'TLSv1.3',
} as const satisfies Record<string, SecureVersion>
const CURVES = { X25519: 'X25519', P256: 'P-256', P384: 'P-384', P521: 'P-521' } as const
/** IANA names, as the collector's users write them → OpenSSL's. TLS 1.3 suites are always on, as in Go. */
export const SUITES = {
  TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: 'ECDHE-ECDSA-AES128-GCM-SHA256',
  TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384: 'ECDHE-ECDSA-AES256-GCM-SHA384',
  TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: 'ECDHE-ECDSA-CHACHA20-POLY1305',
  TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256: 'ECDHE-RSA-AES128-GCM-SHA256',
  TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384: 'ECDHE-RSA-AES256-GCM-SHA384',
  TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256: 'ECDHE-RSA-CHACHA20-POLY1305',
  TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA: 'ECDHE-ECDSA-AES128-SHA',
  TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA: 'ECDHE-ECDSA-AES256-SHA',
  TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA: 'ECDHE-RSA-AES128-SHA',
  TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA: 'ECDHE-RSA-AES256-SHA',
} as const
export const TLS13_SUITES = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
]

export const tlsVersion = () => z.enum(Object.keys(VERSIONS) as [keyof typeof VERSIONS])

/** The collector's `tls` block of a server (notes/collector.md 1.2). */
export const serverTls = z
  .strictObject({
    cert_file: z.string().min(1).optional().describe('The server certificate with its chain, PEM.'),
    key_file: z.string().min(1).optional().describe('Its private key, PEM.'),
    cert_pem: z.string().min(1).optional().describe('The certificate itself instead of a file.'),
    key_pem: secret().optional().describe('The private key itself instead of a file.'),
    ca_file: z.string().min(1).optional().describe('Intermediate certificates to send along, PEM.'),
    client_ca_file: z
      .string()
      .min(1)
      .optional()
      .describe('Turns on mTLS: every sender must present a certificate that this CA has signed.'),
    min_version: tlsVersion().default('1.2').describe('The oldest TLS version that is spoken.'),
    max_version: tlsVersion()
      .optional()
      .describe('The newest TLS version that is spoken; default: the newest known.'),
    cipher_suites: z
      .array(z.enum(Object.keys(SUITES) as [keyof typeof SUITES]))
      .default([])
      .describe('TLS 1.2 cipher suites by IANA name; empty: the defaults of Node.js.'),
    curve_preferences: z
      .array(z.enum(Object.keys(CURVES) as [keyof typeof CURVES]))
      .default([])
      .describe('Key exchange groups in order; empty: the defaults of Node.js.'),
    reload_interval: duration()
      .optional()
      .describe('How often the files are read again; a changed certificate is used for new connections.'),
  })
  .refine((tls) => (tls.cert_file === undefined) !== (tls.cert_pem === undefined), {
    path: ['cert_file'],
    message: 'exactly one of cert_file and cert_pem must be set',
  })
  .refine((tls) => (tls.key_file === undefined) !== (tls.key_pem === undefined), {
    path: ['key_file'],
    message: 'exactly one of key_file and key_pem must be set',
  })

export type ServerTls = z.output<typeof serverTls>

/** Reads the files of a `tls` block. START_FAILED names the key and the file. */
export async function secureContextOptions(tls: ServerTls): Promise<SecureContextOptions> {
  const cert = await pem('cert_file', tls.cert_file, tls.cert_pem)
  const chain = tls.ca_file === undefined ? cert : `${cert}\n${await pem('ca_file', tls.ca_file)}`
  return {
    cert: chain,
    key: await pem('key_file', tls.key_file, tls.key_pem),
    ...(tls.client_ca_file && { ca: await pem('client_ca_file', tls.client_ca_file) }),
    minVersion: VERSIONS[tls.min_version],
    ...(tls.max_version && { maxVersion: VERSIONS[tls.max_version] }),
    ...(tls.cipher_suites.length > 0 && {
      ciphers: [...TLS13_SUITES, ...tls.cipher_suites.map((name) => SUITES[name])].join(':'),
    }),
    ...(tls.curve_preferences.length > 0 && {
      ecdhCurve: tls.curve_preferences.map((name) => CURVES[name]).join(':'),
    }),
  }
}

/** Node takes an empty text for none: no CA would be every public one, and a file is empty while it is being written. */
export async function pem(key: string, file: string | undefined, inline?: string | Secret): Promise<string> {
  const text = await textOf(key, file, inline)
  if (text.includes('-----BEGIN ')) return text
  const where = inline === undefined ? `${key}: ${file}` : key.replace('file', 'pem')
  throw reject('START_FAILED', `tls.${where} holds nothing in PEM form`)
}

async function textOf(key: string, file: string | undefined, inline?: string | Secret): Promise<string> {
  if (inline !== undefined) return typeof inline === 'string' ? inline : inline.reveal()
  try {
    return await readFile(file ?? '', 'utf8')
  } catch (error) {
    throw reject('START_FAILED', `tls.${key}: cannot read ${file}: ${messageOf(error)}`, { cause: error })
  }
}

const HANDSHAKE_TIMEOUT_MS = 10_000

/**
 * Ends TLS for servers that are fed with sockets: raw connections in, TLS sockets out. Certificates are replaced
 * while it runs; a replacement that does not work is logged and the old one stays.
 */
export class TlsFront {
  readonly #tls: ServerTls
  readonly #alpn: readonly string[]
  readonly #log: Log | undefined
  #server: Server | undefined
  #options: SecureContextOptions | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(tls: ServerTls, alpn: readonly string[], log?: Log) {
    this.#tls = tls
    this.#alpn = alpn
    this.#log = log
  }

  async start(onSecure: (socket: TLSSocket) => void): Promise<void> {
    this.#options = await secureContextOptions(this.#tls)
    const mutual = this.#tls.client_ca_file !== undefined
    try {
      this.#server = createServer({
        ...this.#options,
        ALPNProtocols: [...this.#alpn],
        requestCert: mutual,
        rejectUnauthorized: mutual,
        handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
      })
    } catch (error) {
      throw reject('START_FAILED', `tls: the certificate or key is not usable: ${messageOf(error)}`, {
        cause: error,
      })
    }
    this.#server.on('secureConnection', onSecure)
    // A failed handshake is the sender's business; Node has closed the socket.
    this.#server.on('tlsClientError', (error) =>
      this.#log?.debug({ error: messageOf(error) }, 'TLS handshake failed'),
    )
    if (this.#tls.reload_interval) {
      this.#timer = setInterval(() => void this.reload(), this.#tls.reload_interval).unref()
    }
  }

  accept(socket: Socket): void {
    this.#server?.emit('connection', socket)
  }

  /** Reads the files again. True: a changed certificate is in use. */
  async reload(): Promise<boolean> {
    try {
      const options = await secureContextOptions(this.#tls)
      if (JSON.stringify(options) === JSON.stringify(this.#options)) return false
      this.#server?.setSecureContext(options)
      this.#options = options
      this.#log?.info('TLS certificate reloaded')
      return true
    } catch (error) {
      this.#log?.warn({ error: messageOf(error) }, 'TLS files changed but are not usable; the old ones stay')
      return false
    }
  }

  stop(): void {
    clearInterval(this.#timer)
  }
}

export interface ClientCertificate {
  readonly raw: Uint8Array
  readonly subjectAltNames: readonly string[]
}

const certificates = new WeakMap<object, ClientCertificate | undefined>()

/** The verified client certificate of a connection, or of node:http2's proxy of one; parsed once per connection. */
export function clientCertificate(socket: object): ClientCertificate | undefined {
  if (!(socket instanceof TLSSocket)) return undefined
  if (!certificates.has(socket)) certificates.set(socket, readCertificate(socket))
  return certificates.get(socket)
}

function readCertificate(socket: TLSSocket): ClientCertificate | undefined {
  if (!socket.authorized) return undefined
  const peer: Partial<PeerCertificate> | null = socket.getPeerCertificate()
  if (!peer?.raw) return undefined
  return { raw: peer.raw, subjectAltNames: splitAltNames(peer.subjectaltname ?? '') }
}

/** `DNS:a, URI:"x, y"` → its entries. Node quotes, as JSON, values that hold a separator (CVE-2021-44532). */
export function splitAltNames(text: string): readonly string[] {
  const names: string[] = []
  for (const [, kind, quoted, plain] of text.matchAll(
    /([A-Za-z ]+):(?:("(?:[^"\\]|\\.)*")|([^,]*))(?:, |$)/g,
  )) {
    names.push(`${kind}:${quoted === undefined ? plain : String(JSON.parse(quoted))}`)
  }
  return names
}
