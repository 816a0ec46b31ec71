import type { Host } from '../../pipeline/host.ts'
import { NAMED_QUERIES } from './named-queries.ts'
import { httpStatusOf, statusOf } from '../../pipeline/telemetry/health-report.ts'
import type { QueryRoute } from './query.ts'
import { ok, type Call, type Reply, type Route } from './route.ts'

export function routesOf(host: Host, queries: QueryRoute, clock: () => number): readonly Route[] {
  return [
    {
      method: 'GET',
      path: '/v1/status',
      role: 'read',
      scope: 'tenant',
      audit: false,
      handle: (call) => status(host, call, clock()),
    },
    {
      method: 'POST',
      path: '/-/reload',
      role: 'admin',
      scope: 'daemon',
      audit: { action: 'config.reload' },
      handle: () => reload(host),
    },
    {
      method: 'POST',
      path: '/v1/query',
      role: 'read',
      scope: 'tenant',
      audit: { action: 'data.query', reads: true },
      handle: (call) => queries.run(call.body, call.principal, call.signal),
    },
    {
      method: 'GET',
      path: '/v1/named-queries',
      role: 'read',
      scope: 'tenant',
      audit: false,
      handle: () => Promise.resolve(named()),
    },
  ]
}

async function status(host: Host, call: Call, nowMs: number): Promise<Reply> {
  const health = await host.health()
  const report = statusOf(health, nowMs, call.query.get('verbose') !== 'false')
  return {
    status: httpStatusOf(report) === 500 ? 500 : 200,
    body: {
      ...report,
      version: host.version,
      config_digest: health.configDigest,
      durability: health.durability,
      degraded: health.degraded,
    },
  }
}

async function reload(host: Host): Promise<Reply> {
  const { configDigest, changed } = await host.reload()
  return ok({ config_digest: configDigest, changed }, { object: configDigest })
}

function named(): Reply {
  return ok({ queries: NAMED_QUERIES })
}
