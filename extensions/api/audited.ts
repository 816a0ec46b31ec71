import type { IncomingMessage } from 'node:http'
import type { Audit, AuditActor, AuditDetails, AuditEntry, AuditOutcome } from '../../pipeline/audit/audit.ts'
import { faultOf, type FaultCode } from '../../pipeline/fault.ts'
import type { Call, Noted, Reply, Route } from './route.ts'

/** From where it was asked. */
export interface Origin {
  readonly address?: string | undefined
  readonly userAgent?: string | undefined
}

/**
 * Runs the route with its entries in the audit log. A read is entered when it is done and before it is answered; a
 * change when it begins, so that none is made unseen, and when it has ended. A read that failed has told nothing and
 * leaves no entry; who is refused is the caller's to note.
 */
export async function audited(
  audit: Audit | undefined,
  route: Route,
  call: Call,
  origin: Origin,
): Promise<Reply> {
  if (audit === undefined || route.audit === false) return route.handle(call)
  const isRead = route.audit?.reads ?? route.method === 'GET'
  const enter = (outcome: AuditOutcome, noted?: Noted): Promise<number> =>
    audit.append(entryOf(route, call, origin, outcome, noted))
  if (isRead) {
    const reply = await route.handle(call)
    await enter('ok', reply.audit)
    return reply
  }
  const begun = await enter('begun')
  try {
    const reply = await route.handle(call)
    await enter('ok', { ...reply.audit, details: { ...reply.audit?.details, begun } })
    return reply
  } catch (error) {
    const code = faultOf(error)?.code ?? 'INTERNAL'
    // That it failed is worth less than the answer that says so.
    await enter('failed', { details: { begun, code } }).catch(() => undefined)
    throw error
  }
}

function entryOf(
  route: Route,
  call: Call,
  { address, userAgent }: Origin,
  outcome: AuditOutcome,
  noted: Noted | undefined,
): AuditEntry {
  const { principal, params } = call
  const named = route.audit === undefined || route.audit === false ? undefined : route.audit.action
  const parts = Object.values(params).join('/')
  const object = noted?.object ?? (named === undefined ? pathOf(route.path, params) : parts)
  const tenant = noted?.tenant ?? params['tenant'] ?? principal.tenant
  const details: AuditDetails = noted?.details ?? {}
  return {
    actor: principal.actor,
    action: named ?? `api.${route.method.toLowerCase()}`,
    outcome,
    ...(object !== '' && { object }),
    ...(tenant !== undefined && { tenant }),
    ...(address !== undefined && { address }),
    ...(userAgent !== undefined && { userAgent }),
    ...(noted?.legalBasis !== undefined && { legalBasis: noted.legalBasis }),
    ...(Object.keys(details).length > 0 && { details }),
  }
}

/** The route's path with the values that the call had. */
function pathOf(path: string, params: Readonly<Record<string, string>>): string {
  return path.replace(/\{(\w+)\}/g, (_, name: string) => params[name] ?? '')
}

/** What says no for who asks, or for what a query tried. */
const DENIALS: readonly (FaultCode | undefined)[] = ['UNAUTHENTICATED', 'PERMISSION_DENIED', 'QUERY_REFUSED']

/** `route`: method and path as in the table, not as asked: who is refused does not choose what is written. */
export function noteRefusal(
  audit: Audit | undefined,
  error: unknown,
  actor: AuditActor,
  route: string,
  { address, userAgent }: Origin,
): void {
  const code = faultOf(error)?.code
  if (code === undefined || !DENIALS.includes(code)) return
  audit?.refused({
    actor,
    action: 'access.denied',
    object: route,
    outcome: 'denied',
    ...(address !== undefined && { address }),
    ...(userAgent !== undefined && { userAgent }),
    details: { code },
  })
}

export function originOf(request: IncomingMessage): Origin {
  return {
    address: request.socket.remoteAddress?.replace(/^::ffff:(?=\d)/, ''),
    userAgent: request.headers['user-agent'],
  }
}
