import { z } from 'zod'
import { TENANT } from '../../pipeline/admission.ts'
import type { Host } from '../../pipeline/host.ts'
import { instant } from '../../pipeline/schema.ts'
import { bodyOf, ok, type Call, type Reply, type Route } from './route.ts'

const BUDGET_MS = 30_000
const body = z
  .strictObject({
    from: instant(),
    to: instant(),
    tenant: z.string().regex(TENANT).optional(),
    exporter: z.string().min(1).optional(),
    dry_run: z.boolean().default(false),
    budget_ms: z.int().min(0).max(60_000).default(BUDGET_MS),
  })
  .refine((value) => value.from <= value.to, { path: ['to'], error: 'must not be before from' })

/** `POST /v1/reprice`: as much of a time as the budget allows; `next` is where the following request goes on. */
export function repriceRoute(host: Host): Route {
  return {
    method: 'POST',
    path: '/v1/reprice',
    role: 'admin',
    scope: 'daemon',
    audit: { action: 'reprice.run' },
    handle: (call) => reprice(host, call),
  }
}

async function reprice(host: Host, call: Call): Promise<Reply> {
  const { from, to, tenant, exporter, dry_run: dryRun, budget_ms: budgetMs } = bodyOf(body, call.body)
  const { models, nextMs } = await host.reprice(
    {
      fromMs: from,
      toMs: to,
      dryRun,
      budgetMs,
      ...(tenant === undefined ? {} : { tenant }),
      ...(exporter === undefined ? {} : { exporter }),
    },
    call.signal,
  )
  const changed = models.reduce((sum, model) => sum + model.changed, 0)
  const answer = {
    models: models.map((model) => ({
      provider: model.provider,
      model: model.model,
      calls: model.calls,
      changed: model.changed,
      old_usd: model.oldUsd,
      new_usd: model.newUsd,
      old_unpriced: model.oldUnpriced,
      new_unpriced: model.newUnpriced,
    })),
    next: nextMs === undefined ? null : new Date(nextMs).toISOString(),
  }
  return ok(answer, {
    object: `${new Date(from).toISOString()}/${new Date(to).toISOString()}`,
    ...(tenant !== undefined && { tenant }),
    details: { dry_run: dryRun, changed },
  })
}
