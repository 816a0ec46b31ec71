import { z } from 'zod'
import { TENANT } from '../../pipeline/admission.ts'
import type { Host } from '../../pipeline/host.ts'
import type { KeptCall } from '../../pipeline/run-replay/cache.ts'
import { requestOfStep } from '../../pipeline/run-replay/call-of.ts'
import { nearest } from '../../pipeline/run-replay/ladder.ts'
import { loadRun } from '../../pipeline/runs/load.ts'
import { bodyOf, ok, type Call, type Reply, type Route } from './route.ts'
import { RunCache, tenantFor, type CacheServices } from './run-cache.ts'

const RUNGS = ['exact', 'minor', 'major'] as const

const common = {
  tenant: z.string().regex(TENANT).optional(),
  occurrence: z.int().nonnegative().default(0),
  accept: z.enum(RUNGS).default('exact'),
}
const body = z.discriminatedUnion('kind', [
  z.strictObject({
    ...common,
    kind: z.literal('llm'),
    provider: z.string().max(256).default(''),
    model: z.string().min(1).max(256),
    system: z.unknown().optional(),
    messages: z.unknown(),
    tools: z.unknown().optional(),
    params: z.record(z.string(), z.unknown()).default({}),
  }),
  z.strictObject({ ...common, kind: z.literal('tool'), tool: z.string().min(1).max(256), args: z.unknown() }),
])

/**
 * `POST /v1/runs/{run}/answers`: a live call of an agent that runs again in a test is answered as the recorded one was. The
 * request is recognised by its keyed hash, redacted as the record may be; what is not there is told with the nearest one.
 * Who may ask can tell whether a guess at what was redacted is right: admins only, as for pseudonyms.
 */
export function answersRoute(host: Host, services: CacheServices): Route {
  const cache = new RunCache(services)
  return {
    method: 'POST',
    path: '/v1/runs/{run}/answers',
    role: 'admin',
    scope: 'tenant',
    audit: { action: 'run.answer', reads: true },
    handle: (call) => answer(host, cache, call),
  }
}

async function answer(
  host: Host,
  cache: RunCache,
  { params, principal, body: given, signal }: Call,
): Promise<Reply> {
  const { tenant: asked, occurrence, accept, ...request } = bodyOf(body, given)
  const tenant = tenantFor(principal, asked)
  const run = await loadRun(host.query.bind(host), { id: params['run'] ?? '', tenant }, signal)
  const kept = await cache.kept(run)
  const key = await cache.keyOf(run.tenant, request)
  const found = kept.find((each) => each.key === key && each.occurrence === occurrence)
  const noted = { tenant: run.tenant }
  if (found !== undefined) return ok({ agreement: 'exact', answer: shown(found), nearest: null }, noted)
  const recorded = run.steps.flatMap((step, index) => {
    const other = requestOfStep(step)
    return other === undefined ? [] : [{ other, step, at: index + 1 }]
  })
  const match = nearest(
    request,
    recorded.map(({ other }) => other),
  )
  // An equal record that is kept under another key, or another occurrence, is not this call.
  const rung = match.rung === 'exact' ? 'minor' : match.rung
  const near = recorded[match.at]
  const span = near?.step.requestSpanId ?? near?.step.spanId
  const isGood = rung !== 'missed' && RUNGS.indexOf(rung) <= RUNGS.indexOf(accept)
  const stand = isGood ? kept.find((each) => each.span === span) : undefined
  return ok(
    {
      agreement: rung,
      answer: stand === undefined ? null : shown(stand),
      nearest: near === undefined ? null : { step: near.at, span_id: span, field: match.field ?? null },
      ...(kept.length === 0 && { cause: cache.reason(run) }),
    },
    noted,
  )
}

function shown({ answer: { value, status, error, durationMs } }: KeptCall) {
  return { value: value ?? null, status, error: error ?? null, latency_ms: durationMs }
}
