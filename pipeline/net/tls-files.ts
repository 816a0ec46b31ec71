import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createSecureContext, type SecureContextOptions } from 'node:tls'
import { messageOf } from '../fault.ts'

/** Something that makes a `tls` block unusable, by the key at fault. */
export interface TlsProblem {
  readonly key: string
  readonly message: string
}

/** The text that a block has under `<name>_file` or `<name>_pem`. */
interface Part {
  readonly key: string
  readonly text: string
}

const AUTHORITIES = ['ca', 'client_ca'] as const
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g

/**
 * Reads what a `tls` block names, as written in a config, of a server or of a client: files that cannot be read, that
 * hold something else, a key of another certificate. Nothing of what they hold is told.
 */
export async function tlsProblems(block: Readonly<Record<string, unknown>>): Promise<TlsProblem[]> {
  const problems: TlsProblem[] = []
  const partOf = async (name: string): Promise<Part | undefined> => {
    const part = await read(block, name)
    if (part === undefined || !('message' in part)) return part
    problems.push(part)
    return undefined
  }
  for (const name of AUTHORITIES) {
    const part = await partOf(name)
    if (part !== undefined) problems.push(...authorityProblems(part))
  }
  const [cert, key] = [await partOf('cert'), await partOf('key')]
  problems.push(...identityProblems(cert, key))
  return problems
}

async function read(
  block: Readonly<Record<string, unknown>>,
  name: string,
): Promise<Part | TlsProblem | undefined> {
  const [file, inline] = [block[`${name}_file`], block[`${name}_pem`]]
  if (typeof inline === 'string') return { key: `${name}_pem`, text: inline }
  if (typeof file !== 'string') return undefined
  const key = `${name}_file`
  try {
    return { key, text: await readFile(file, 'utf8') }
  } catch (error) {
    const remedy = 'give a PEM file that the user that weir runs as may read'
    return { key, message: `cannot read ${file}: ${messageOf(error)}; ${remedy}` }
  }
}

/** Node takes what is no certificate for no authority at all: then nobody is trusted, and it is never said why. */
function authorityProblems({ key, text }: Part): TlsProblem[] {
  const certificates = text.match(CERTIFICATE) ?? []
  if (certificates.length === 0) return [{ key, message: 'holds no certificate in PEM form' }]
  try {
    for (const certificate of certificates) void new X509Certificate(certificate)
    return []
  } catch (error) {
    return [{ key, message: `holds a certificate that cannot be read: ${messageOf(error)}` }]
  }
}

function identityProblems(cert: Part | undefined, key: Part | undefined): TlsProblem[] {
  const alone = [
    cert && partProblem(cert, { cert: cert.text }, 'no certificate in PEM form that can be used'),
    key &&
      partProblem(
        key,
        { key: key.text },
        'no private key in PEM form that can be used (one with a passphrase cannot)',
      ),
  ].filter((problem) => problem !== undefined)
  if (alone.length > 0 || cert === undefined || key === undefined) return alone
  const cause = failure({ cert: cert.text, key: key.text })
  if (cause === undefined) return []
  return [{ key: key.key, message: `is not the key of the certificate in ${cert.key}: ${cause}` }]
}

function partProblem(
  { key, text }: Part,
  options: SecureContextOptions,
  what: string,
): TlsProblem | undefined {
  // Node takes an empty text for none.
  const cause = text.includes('-----BEGIN ') ? failure(options) : 'nothing in PEM form'
  return cause === undefined ? undefined : { key, message: `holds ${what}: ${cause}` }
}

function failure(options: SecureContextOptions): string | undefined {
  try {
    createSecureContext(options)
    return undefined
  } catch (error) {
    return messageOf(error)
  }
}
