import { z } from 'zod'
import type { Host } from '../../pipeline/host.ts'
import type { JobView, RunView } from '../../pipeline/jobs/desk.ts'
import { bodyOf, ok, type Call, type Reply, type Route } from './route.ts'

const body = z.strictObject({
  params: z.record(z.string(), z.unknown()).default({}),
  dry_run: z.boolean().default(false),
})

/** What the jobs are at; asking for runs, and ending them. */
export function jobRoutes(host: Host): readonly Route[] {
  const read = { role: 'read', scope: 'daemon', method: 'GET', audit: false } as const
  const write = { role: 'admin', scope: 'daemon' } as const
  return [
    { ...read, path: '/v1/jobs', handle: () => list(host) },
    { ...read, path: '/v1/jobs/{job}', handle: (call) => one(host, call) },
    { ...read, path: '/v1/jobs/{job}/runs', handle: (call) => runs(host, call) },
    { ...read, path: '/v1/jobs/{job}/runs/{run}', handle: (call) => show(host, call) },
    {
      ...write,
      method: 'POST',
      path: '/v1/jobs/{job}/runs',
      audit: { action: 'job.run' },
      handle: (call) => ask(host, call),
    },
    {
      ...write,
      method: 'DELETE',
      path: '/v1/jobs/{job}/runs/{run}',
      audit: { action: 'job.cancel' },
      handle: (call) => cancel(host, call),
    },
  ]
}

async function list(host: Host): Promise<Reply> {
  const views = await host.jobDesk().list()
  return ok({ jobs: views.map(shownJob) })
}

async function one(host: Host, { params }: Call): Promise<Reply> {
  const view = await host.jobDesk().get(params['job'] ?? '')
  const schema = z.toJSONSchema(view.entry.factory.params, { io: 'input', unrepresentable: 'any' })
  return ok({ job: { ...shownJob(view), params: schema } })
}

async function runs(host: Host, { params }: Call): Promise<Reply> {
  return ok({ runs: (await host.jobDesk().runs(params['job'] ?? '')).map(shownRun) })
}

async function show(host: Host, { params }: Call): Promise<Reply> {
  return ok({ run: shownRun(await host.jobDesk().run(params['job'] ?? '', params['run'] ?? '')) })
}

async function ask(host: Host, call: Call): Promise<Reply> {
  const { params, dry_run: dryRun } = bodyOf(body, call.body)
  const job = call.params['job'] ?? ''
  const id = await host.jobDesk().ask(job, { params, dryRun, by: call.principal.actor.id })
  const named = Object.keys(params).slice(0, 64)
  return {
    status: 202,
    body: { job, run: id },
    audit: { object: `${job}/${id}`, details: { dry_run: dryRun, params: named } },
  }
}

async function cancel(host: Host, { params, principal }: Call): Promise<Reply> {
  const [job = '', run = ''] = [params['job'], params['run']]
  await host.jobDesk().cancel(job, run, principal.actor.id)
  return { status: 202, body: { job, run } }
}

function shownJob({ entry, nextMs, record }: JobView) {
  const { schedule, every, timezone, enabled } = entry.config
  const { running, last } = record ?? {}
  return {
    job: entry.id,
    type: entry.factory.type,
    summary: entry.factory.summary,
    schedule:
      !entry.listed || !enabled ? null : every === undefined ? (schedule ?? null) : `every ${every / 1000}s`,
    timezone,
    next: time(nextMs),
    queued: record?.queue.length ?? 0,
    running: running === undefined ? null : shownRun({ status: 'running', run: running }),
    last: last === undefined ? null : { run: last.id, outcome: last.outcome, ended: time(last.endedAtMs) },
    last_success: time(record?.lastSuccessMs),
  }
}

function shownRun(view: RunView) {
  const { id, by, atMs, dryRun, params } = view.run
  const common = { run: id, by, scheduled: time(atMs), dry_run: dryRun, params }
  if (view.status === 'queued') return { ...common, status: 'queued' }
  if (view.status === 'running') {
    const { startedAtMs, holder, progress, trouble, cancelledBy } = view.run
    const status = cancelledBy === undefined ? 'running' : 'cancelling'
    return { ...common, status, started: time(startedAtMs), holder, progress, trouble }
  }
  const { startedAtMs, endedAtMs, outcome, error, report, holder } = view.run
  return {
    ...common,
    status: outcome,
    started: time(startedAtMs),
    ended: time(endedAtMs),
    holder,
    error,
    report,
  }
}

function time(ms: number | undefined): string | null {
  return ms === undefined || !Number.isFinite(ms) ? null : new Date(ms).toISOString()
}
