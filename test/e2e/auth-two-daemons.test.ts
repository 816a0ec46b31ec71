import { afterAll, beforeAll, expect, it } from 'vitest'
import { ask, PROTOBUF, tracesRequest } from '../contract/otlp-clients.ts'
import { NatsServer } from '../nats.ts'
import { startDaemon, type Daemon } from '../support/daemon.ts'
import { IdentityClient, signed } from '../support/identity.ts'
import { timed } from '../support/timed.ts'
import { until } from '../support/until.ts'

let nats: NatsServer
let daemons: Daemon[]
let identity: IdentityClient
const body = tracesRequest('span')

beforeAll(async () => {
  nats = await NatsServer.start()
  const config = `receivers:
  otlp: { protocols: { http: { endpoint: 127.0.0.1:0 } } }
processors:
  auth: { methods: [api_key, hmac] }
exporters:
  stdout: { verbosity: basic }
extensions:
  state: { driver: jetstream, servers: ["${nats.url}"], master_key: "${'5a'.repeat(32)}" }
  api: {}
  health: {}
service:
  extensions: [state, api, health]
  pipelines:
    traces: { receivers: [otlp], processors: [auth], exporters: [stdout] }
`
  daemons = await Promise.all([startDaemon({ config }), startDaemon({ config })])
  await Promise.all(daemons.map((daemon) => daemon.ready()))
  identity = new IdentityClient(daemons[0]?.endpoints.api ?? '')
  await identity.tenant('acme')
})
afterAll(async () => {
  await Promise.all(daemons.map((daemon) => daemon.stop()))
  await nats.stop()
})

async function post(daemon: Daemon, headers: Record<string, string>): Promise<number> {
  const port = Number(new URL(daemon.endpoints.http).port)
  return (await ask(port, { headers: { ...PROTOBUF, ...headers }, body })).status
}

const everywhere = (headers: Record<string, string>): Promise<number[]> =>
  Promise.all(daemons.map((daemon) => post(daemon, headers)))

it('a key made at one daemon is good at both, and revoked there is refused at both within 5 s', async () => {
  const { id, secret } = await identity.key({ tenant: 'acme' })
  const headers = { authorization: `Bearer ${secret}` }
  await until(async () => (await everywhere(headers)).join() === '200,200')
  await identity.revoke(id)
  const { ms, lateMs } = await timed(() =>
    until(async () => (await everywhere(headers)).join() === '401,401'),
  )
  expect(ms).toBeLessThan(5000 + lateMs)
})

it('a signed request is good at one daemon once, not at the other, and not after both were killed', async () => {
  const key = await identity.key({ kind: 'hmac', tenant: 'acme' })
  const sign = () => signed({ key, tenant: 'acme', path: '/v1/traces', body })
  await until(async () => (await everywhere(sign())).includes(200))
  const requests = Array.from({ length: 25 }, sign)
  for (const headers of requests)
    expect((await everywhere(headers)).sort((a, b) => a - b)).toEqual([200, 401])
  await Promise.all(daemons.map((daemon) => daemon.restart('SIGKILL')))
  await Promise.all(daemons.map((daemon) => daemon.ready()))
  for (const headers of requests) expect(await everywhere(headers)).toEqual([401, 401])
  expect((await everywhere(sign())).sort((a, b) => a - b)).toEqual([200, 401])
})
