import { afterEach, describe, expect, it } from 'vitest'
import type { Health } from '../../pipeline/host.ts'
import { extensionContext, stubHost } from '../../test/support/extension-context.ts'
import { HealthExtension } from './health.ts'
import { config } from './config.ts'

const T0 = Date.UTC(2026, 0, 2)

const OK: Health = {
  ready: true,
  degraded: [],
  startedAtMs: T0,
  components: [
    { name: 'receiver:otlp', group: 'pipeline:traces/ingest', status: 'StatusOK', sinceMs: T0 },
    { name: 'exporter:clickhouse', group: 'pipeline:traces/store', status: 'StatusOK', sinceMs: T0 + 5 },
  ],
  durability: [{ connector: 'wal', mode: 'process', proof: 'LMDB without sync' }],
  configDigest: 'd1',
}

const running: HealthExtension[] = []
const { context, meter, close } = extensionContext('health')
afterEach(async () => {
  await Promise.all(running.splice(0).map((each) => each.stop(AbortSignal.timeout(100))))
  await close()
})

async function serve(health: () => Promise<Health>, options: Record<string, unknown> = {}): Promise<string> {
  const parsed = config.parse({ endpoint: '127.0.0.1:0', ...options })
  const extension = new HealthExtension(parsed, context, stubHost({ health }))
  running.push(extension)
  await extension.start()
  return `http://${extension.address}`
}

async function get(url: string): Promise<{ status: number; body: Record<string, unknown> }> {
  const answer = await fetch(url)
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> }
}

const is = (health: Health) => () => Promise.resolve(health)

describe('health', () => {
  it('is ready when the WAL can be written, and says what an acknowledgement survives', async () => {
    const url = await serve(is(OK))
    const want = { status: 'ready', reasons: [], durability: OK.durability }
    expect(await get(`${url}/readyz`)).toEqual({ status: 200, body: want })
    expect(await get(`${url}/`)).toEqual({ status: 200, body: want })
  })

  it('is degraded, not unready, when an exporter lags', async () => {
    const url = await serve(is({ ...OK, degraded: ['exporter:clickhouse lags 90 s'] }))
    expect(await get(`${url}/readyz`)).toMatchObject({
      status: 200,
      body: { status: 'degraded', reasons: ['exporter:clickhouse lags 90 s'] },
    })
    expect(await get(`${url}/status`)).toMatchObject({
      status: 200,
      body: { healthy: true, status: 'StatusRecoverableError', error: 'exporter:clickhouse lags 90 s' },
    })
  })

  it('is 503 with the reason when nothing can be stored, and alive all the same', async () => {
    const url = await serve(is({ ...OK, ready: false, degraded: ['connector:wal: no space left on device'] }))
    const unready = await get(`${url}/readyz`)
    expect(unready).toMatchObject({
      status: 503,
      body: { status: 'unavailable', reasons: ['connector:wal: no space left on device'] },
    })
    expect((await get(`${url}/status`)).status).toBe(503)
    expect((await get(`${url}/livez`)).status).toBe(200)
  })

  it('never says 503 without a reason', async () => {
    const url = await serve(is({ ...OK, ready: false, components: [] }))
    expect((await get(`${url}/readyz`)).body['reasons']).toEqual(['the daemon is not started yet'])
  })

  it('gives the healthcheckv2 tree with verbose, and the digest of the config', async () => {
    const url = await serve(is(OK))
    expect(await get(`${url}/status?verbose`)).toEqual({
      status: 200,
      body: {
        start_time: '2026-01-02T00:00:00.000Z',
        healthy: true,
        status: 'StatusOK',
        status_time: '2026-01-02T00:00:00.005Z',
        components: {
          'pipeline:traces/ingest': node(T0, { 'receiver:otlp': node(T0) }),
          'pipeline:traces/store': node(T0 + 5, { 'exporter:clickhouse': node(T0 + 5) }),
        },
        version: 'test',
        config_digest: 'd1',
        durability: OK.durability,
      },
    })
    expect((await get(`${url}/status`)).body).not.toHaveProperty('components')
  })

  it('answers for one pipeline, by its worst component', async () => {
    const failing = { ...OK.components[1], status: 'StatusPermanentError', error: 'table gone' } as const
    const url = await serve(is({ ...OK, components: [OK.components[0], failing] as Health['components'] }))
    expect((await get(`${url}/status?pipeline=traces/ingest`)).body).toMatchObject({ status: 'StatusOK' })
    expect((await get(`${url}/status?pipeline=traces/store`)).body).toMatchObject({
      healthy: false,
      status: 'StatusPermanentError',
      error: 'table gone',
    })
    expect((await get(`${url}/status?pipeline=logs`)).status).toBe(404)
  })

  it('shows no credential that an error message carries', async () => {
    const url = await serve(is({ ...OK, degraded: ['nats://u:c4nary@host: refused; Bearer c4narytoken'] }))
    expect(JSON.stringify([await get(`${url}/readyz`), await get(`${url}/status?verbose`)])).not.toContain(
      'c4nary',
    )
  })

  it('scores every component on the metrics page', async () => {
    const failed = { ...OK.components[1], status: 'StatusFatalError' } as const
    const url = await serve(is({ ...OK, components: [OK.components[0], failed] as Health['components'] }))
    expect((await get(`${url}/status`)).status).toBe(500)
    const page = await meter.render()
    expect(page).toContain('weir_health_score{component="receiver:otlp"} 1')
    expect(page).toContain('weir_health_score{component="exporter:clickhouse"} 0')
    expect(page).toContain('weir_build_info{version="test"} 1')
  })

  it('says 503 when the daemon cannot answer, and 404 and 405 for what is not there', async () => {
    const url = await serve(() => Promise.reject(new Error('inner')))
    const broken = await get(`${url}/readyz`)
    expect(broken.status).toBe(503)
    expect(JSON.stringify(broken.body)).not.toContain('inner')
    expect((await get(`${url}/nope`)).status).toBe(404)
    expect((await fetch(`${url}/readyz`, { method: 'DELETE' })).status).toBe(405)
  })

  it('refuses an address that others can reach unless told, and stops before it started', async () => {
    const parsed = config.parse({ endpoint: '0.0.0.0:0' })
    const extension = new HealthExtension(parsed, context, stubHost({}))
    await expect(extension.start()).rejects.toThrow(/insecure_bind/)
    await extension.stop(AbortSignal.timeout(10))
    await serve(is(OK), { endpoint: '0.0.0.0:0', insecure_bind: true })
  })
})

function node(ms: number, components?: Record<string, unknown>) {
  const own = { healthy: true, status: 'StatusOK', status_time: new Date(ms).toISOString() }
  return components === undefined ? own : { ...own, components }
}
