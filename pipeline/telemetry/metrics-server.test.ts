import { afterEach, describe, expect, it } from 'vitest'
import { ListenerPool } from '../net/listener-pool.ts'
import { serveMetrics, type MetricsServer } from './metrics-server.ts'
import { createMeter } from './prom-meter.ts'
import { parsePrometheus } from '../../test/support/parse-prometheus.ts'

const pool = new ListenerPool()
const started: MetricsServer[] = []
afterEach(async () => {
  await Promise.all(started.splice(0).map((server) => server.stop()))
  await pool.close()
})

async function serve(render: () => Promise<string>): Promise<string> {
  const server = await serveMetrics('127.0.0.1:0', pool, render)
  started.push(server)
  return `http://${server.address}`
}

describe('metrics server', () => {
  it('serves the page at /metrics', async () => {
    const meter = createMeter()
    meter.counter('weir_config_reloads').add(1, { outcome: 'success' })
    const url = await serve(() => meter.render())
    const answer = await fetch(`${url}/metrics`)
    expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
    expect(parsePrometheus(await answer.text()).get('weir_config_reloads{outcome="success"}')).toBe(1)
  })

  it('answers other paths, methods and failures with a status and no inner text', async () => {
    const url = await serve(() => Promise.reject(new Error('inner-canary')))
    expect((await fetch(`${url}/`)).status).toBe(404)
    expect((await fetch(`${url}/metrics`, { method: 'POST', body: 'x' })).status).toBe(405)
    const broken = await fetch(`${url}/metrics`)
    expect(broken.status).toBe(500)
    expect(await broken.text()).not.toContain('inner-canary')
  })

  it('refuses an address that others can reach', async () => {
    const page = () => Promise.resolve('')
    await expect(serveMetrics('0.0.0.0:0', pool, page)).rejects.toThrow(/service\.telemetry\.metrics/)
    started.push(await serveMetrics('0.0.0.0:0', pool, page, { insecureBind: true }))
  })
})
