import { createHash, randomBytes } from 'node:crypto'
import canonicalize from 'canonicalize'
import { z } from 'zod'
import { reject } from '../fault.ts'
import { redactText } from '../telemetry/redact.ts'
import type { AuditEntry } from './audit.ts'

const MAX_TEXT = 256
const MAX_DETAILS_BYTES = 4096
const ACTION = /^[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)+$/

const hash = z.string().regex(/^[A-Za-z0-9+/]{43}=$/)
const text = z.string().max(MAX_TEXT)

/** One line of the log: canonical JSON (RFC 8785) of this. `prev` is the SHA-256 of the line before, '' of the first. */
const schema = z.strictObject({
  v: z.literal(1),
  seq: z.int().positive(),
  /** RFC 3339, UTC, milliseconds. */
  time: z.iso.datetime({ precision: 3 }),
  /** Random: tells an entry whose write was never answered from one that was not written. */
  id: z.string().regex(/^[0-9a-f]{16}$/),
  actor: z.strictObject({ id: text, kind: z.enum(['key', 'token', 'local', 'sender', 'job', 'system']) }),
  action: z.string().max(64).regex(ACTION),
  object: text.optional(),
  tenant: z.string().max(63).optional(),
  outcome: z.enum(['ok', 'begun', 'failed', 'denied']),
  address: z.string().max(64).optional(),
  user_agent: text.optional(),
  legal_basis: text.optional(),
  details: z
    .record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.array(z.string()).readonly()]))
    .optional(),
  prev: z.union([hash, z.literal('')]),
})

export type AuditLine = z.output<typeof schema>

/** An entry checked, cut and timed, without its place in the chain. */
export type Fields = Omit<AuditLine, 'seq' | 'prev'>

/** Throws REQUEST_INVALID for what no log can hold. Credentials that can be told by their shape are masked. */
export function fieldsOf(entry: AuditEntry, nowMs: number): Fields {
  const { actor, action, tenant, outcome, details } = entry
  const fields = {
    v: 1 as const,
    time: new Date(nowMs).toISOString(),
    id: randomBytes(8).toString('hex'),
    actor: { id: short(actor.id), kind: actor.kind },
    action,
    ...(entry.object !== undefined && { object: short(entry.object) }),
    ...(tenant !== undefined && { tenant: tenant.slice(0, 63) }),
    outcome,
    ...(entry.address !== undefined && { address: entry.address.slice(0, 64) }),
    ...(entry.userAgent !== undefined && { user_agent: short(entry.userAgent) }),
    ...(entry.legalBasis !== undefined && { legal_basis: short(entry.legalBasis) }),
    ...(details !== undefined && { details: detailsOf(details) }),
  }
  const checked = schema.omit({ seq: true, prev: true }).safeParse(fields)
  if (checked.success) return checked.data
  const [issue] = checked.error.issues
  throw reject(
    'REQUEST_INVALID',
    `audit entry: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'invalid'}`,
  )
}

function detailsOf(details: NonNullable<AuditEntry['details']>): NonNullable<AuditLine['details']> {
  const clean = Object.fromEntries(
    Object.entries(details).map(([key, value]) => [
      key,
      typeof value === 'string'
        ? redactText(wellFormed(value))
        : Array.isArray(value)
          ? value.map(wellFormed)
          : value,
    ]),
  ) as NonNullable<AuditLine['details']>
  const bytes = Buffer.byteLength(JSON.stringify(clean))
  if (bytes <= MAX_DETAILS_BYTES) return clean
  throw reject('REQUEST_INVALID', `audit entry: details have ${bytes} bytes, over ${MAX_DETAILS_BYTES}`)
}

function short(value: string): string {
  return redactText(wellFormed(value)).slice(0, MAX_TEXT).toWellFormed()
}

/** A lone surrogate has no form in UTF-8: the hash would be of another text than what is read back. */
function wellFormed(value: string): string {
  return value.toWellFormed()
}

export function lineOf(fields: Fields, seq: number, prev: string): string {
  const line = canonicalize({ ...fields, seq, prev })
  if (line === undefined) throw new Error('an audit entry has no canonical form')
  return line
}

export function hashOf(line: string): string {
  return createHash('sha256').update(line).digest('base64')
}

/** What of a line the chain is made of; the hashes vouch for the rest. Undefined for what is no line. */
export function linkOf(line: string): Link | undefined {
  try {
    const link = JSON.parse(line) as Partial<Link> | null
    const isLink = Number.isSafeInteger(link?.seq) && typeof link?.prev === 'string'
    return isLink ? (link as Link) : undefined
  } catch {
    return undefined
  }
}

export type Link = Pick<AuditLine, 'seq' | 'prev'> & Partial<AuditLine>

/** Undefined for what is no line as `lineOf` writes it, to the byte. */
export function parseLine(line: string): AuditLine | undefined {
  try {
    const parsed = schema.safeParse(JSON.parse(line)).data
    return parsed !== undefined && canonicalize(parsed) === line ? parsed : undefined
  } catch {
    return undefined
  }
}
