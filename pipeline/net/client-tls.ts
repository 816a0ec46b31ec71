import { createSecureContext, rootCertificates, type SecureContextOptions } from 'node:tls'
import { z } from 'zod'
import { faultOf, messageOf, reject } from '../fault.ts'
import { duration, secret } from '../schema.ts'
import { pem, SUITES, TLS13_SUITES, tlsVersion, VERSIONS } from './tls.ts'

/** The collector's `tls` block of a client (notes/collector.md 1.2). */
export const clientTls = z
  .strictObject({
    insecure: z.boolean().default(false).describe('No TLS at all, where the endpoint has no scheme.'),
    insecure_skip_verify: z.boolean().default(false).describe('Accept any certificate of the server.'),
    ca_file: z.string().min(1).optional().describe('The authority that signed the server, PEM.'),
    ca_pem: z.string().min(1).optional().describe('The authority itself instead of a file.'),
    include_system_ca_certs_pool: z
      .boolean()
      .default(false)
      .describe('Trust the public authorities besides `ca_file`.'),
    cert_file: z.string().min(1).optional().describe('Our certificate, where the server asks for one, PEM.'),
    cert_pem: z.string().min(1).optional().describe('The certificate itself instead of a file.'),
    key_file: z.string().min(1).optional().describe('Its private key, PEM.'),
    key_pem: secret().optional().describe('The private key itself instead of a file.'),
    server_name_override: z
      .string()
      .min(1)
      .optional()
      .describe('The name that the server’s certificate must have, instead of the endpoint’s.'),
    min_version: tlsVersion().default('1.2').describe('The oldest TLS version that is spoken.'),
    max_version: tlsVersion().optional().describe('The newest TLS version that is spoken.'),
    cipher_suites: z
      .array(z.enum(Object.keys(SUITES) as [keyof typeof SUITES]))
      .default([])
      .describe('TLS 1.2 cipher suites by IANA name; empty: the defaults of Node.js.'),
    reload_interval: duration()
      .optional()
      .describe('How often the files are read again; new connections use what changed.'),
  })
  .refine((tls) => hasOne(tls.cert_file, tls.cert_pem) === hasOne(tls.key_file, tls.key_pem), {
    path: ['cert_file'],
    message: 'a certificate and its key are set together, each as _file or as _pem',
  })

export type ClientTls = z.output<typeof clientTls>

function hasOne(file: unknown, inline: unknown): boolean {
  return file !== undefined || inline !== undefined
}

/** Reads the files. START_FAILED names the key and the file. */
export async function clientContextOptions(tls: ClientTls): Promise<SecureContextOptions> {
  const ca = hasOne(tls.ca_file, tls.ca_pem) ? await pem('ca_file', tls.ca_file, tls.ca_pem) : undefined
  const identity = hasOne(tls.cert_file, tls.cert_pem)
    ? {
        cert: await pem('cert_file', tls.cert_file, tls.cert_pem),
        key: await pem('key_file', tls.key_file, tls.key_pem),
      }
    : {}
  const options: SecureContextOptions = {
    ...(ca !== undefined && { ca: tls.include_system_ca_certs_pool ? [...rootCertificates, ca] : ca }),
    ...identity,
    minVersion: VERSIONS[tls.min_version],
    ...(tls.max_version && { maxVersion: VERSIONS[tls.max_version] }),
    ...(tls.cipher_suites.length > 0 && {
      ciphers: [...TLS13_SUITES, ...tls.cipher_suites.map((name) => SUITES[name])].join(':'),
    }),
  }
  checkUsable(options)
  return options
}

function checkUsable(options: SecureContextOptions): void {
  try {
    createSecureContext(options)
  } catch (error) {
    if (faultOf(error) !== undefined) throw error
    throw reject('START_FAILED', `tls: the certificate or key is not usable: ${messageOf(error)}`, {
      cause: error,
    })
  }
}
