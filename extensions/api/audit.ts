import { z } from 'zod'
import { TENANT } from '../../pipeline/admission.ts'
import type { AuditLine } from '../../pipeline/audit/line.ts'
import { searchAudit } from '../../pipeline/audit/search.ts'
import { transcriptPage } from '../../pipeline/audit/transcript.ts'
import { verifyState } from '../../pipeline/audit/verify-state.ts'
import { reject } from '../../pipeline/fault.ts'
import type { Host } from '../../pipeline/host.ts'
import type { StateStore } from '../../pipeline/state/state.ts'
import { copyCheck } from './audit-copy.ts'
import { bodyOf, ok, type Call, type Reply, type Route } from './route.ts'

const instant = z.iso.datetime({ offset: true }).transform((text) => Date.parse(text))
const text = z.string().min(1).max(256)

const filter = z.strictObject({
  actor: text.optional(),
  action: text.optional(),
  tenant: z.string().regex(TENANT).optional(),
  outcome: z.enum(['ok', 'begun', 'failed', 'denied']).optional(),
  object: text.optional(),
  since: instant.optional(),
  until: instant.optional(),
  before: z.coerce.number().int().positive().optional(),
  limit: z.coerce.number().int().min(1).max(1000).default(100),
})

const page = z.strictObject({ after: z.coerce.number().int().nonnegative().optional() })

const verification = z.strictObject({
  /** Fingerprints. */
  keys: z
    .array(z.string().regex(/^[0-9a-f]{16}$/))
    .max(16)
    .optional(),
  checkpoints: z.array(z.string().max(1024)).max(64).default([]),
  /** Compares the copy in ClickHouse, line by line and field by field. */
  copy: z.boolean().default(false),
})

/** The audit log itself. Reading it is a read like another, and is entered. */
export function auditRoutes(state: StateStore, host?: Pick<Host, 'query'>): readonly Route[] {
  const daemon = { role: 'admin', scope: 'daemon' } as const
  return [
    {
      method: 'GET',
      path: '/v1/audit',
      role: 'admin',
      scope: 'tenant',
      audit: { action: 'audit.query' },
      handle: (call) => search(state, call),
    },
    {
      ...daemon,
      method: 'GET',
      path: '/v1/audit/lines',
      audit: { action: 'audit.export' },
      handle: (call) => lines(state, call),
    },
    {
      ...daemon,
      method: 'POST',
      path: '/v1/audit/verify',
      audit: { action: 'audit.verify', reads: true },
      handle: (call) => verify(state, call, host),
    },
  ]
}

async function search(state: StateStore, { principal, query }: Call): Promise<Reply> {
  const { since, until, limit, tenant, ...which } = bodyOf(filter, Object.fromEntries(query))
  if (principal.tenant !== undefined && tenant !== undefined && tenant !== principal.tenant) {
    throw reject('PERMISSION_DENIED', 'the token is for another tenant')
  }
  const wanted = { ...which, tenant: principal.tenant ?? tenant, sinceMs: since, untilMs: until }
  const { entries, next } = await searchAudit(state, wanted, limit)
  const by = Object.keys(Object.fromEntries(query)).slice(0, 16)
  return ok({ entries: entries.map(shown), next: next ?? null }, { details: { entries: entries.length, by } })
}

/** What is of no use to a reader is left out. */
function shown({ v: _v, id: _id, prev: _prev, ...entry }: AuditLine) {
  return entry
}

async function lines(state: StateStore, { query }: Call): Promise<Reply> {
  const { after } = bodyOf(page, Object.fromEntries(query))
  const found = await transcriptPage(state, after)
  return ok(found, { details: { after: after ?? 0, entries: found.lines.length } })
}

async function verify(
  state: StateStore,
  { body, signal }: Call,
  host: Pick<Host, 'query'> | undefined,
): Promise<Reply> {
  const { keys, checkpoints, copy } = bodyOf(verification, body)
  if (copy && host === undefined) throw reject('REQUEST_INVALID', 'the copy is compared by a running daemon')
  const copied = copy && host !== undefined ? copyCheck(host, signal) : undefined
  const verdict = await verifyState(state, {
    anchors: checkpoints,
    ...(keys && { trusted: keys }),
    ...(copied && { copy: copied }),
  })
  return ok(verdict, {
    details: {
      ok: verdict.ok,
      entries: verdict.last,
      ...(verdict.finding && { kind: verdict.finding.kind }),
    },
  })
}
