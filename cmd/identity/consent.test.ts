import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ApiExtension } from '../../extensions/api/api.ts'
import { config } from '../../extensions/api/config.ts'
import { consentStatus, isAgreed, isAgreedForSome } from '../../pipeline/consent/in-force.ts'
import { traceIdOf } from '../../pipeline/agent/ids.ts'
import { IdentityCache } from '../../pipeline/identity/cache.ts'
import { Directory } from '../../pipeline/identity/directory.ts'
import { Keyring } from '../../pipeline/identity/keyring.ts'
import { dayKey, dayOf } from '../../pipeline/run-replay/cache-record.ts'
import { EmbeddedState } from '../../pipeline/state/embedded.ts'
import { extensionContext, stubHost } from '../../test/support/extension-context.ts'
import { until } from '../../test/support/until.ts'
import { runCli } from '../cli.ts'

let home: string
let state: EmbeddedState
let identity: IdentityCache
let api: ApiExtension
let close: () => Promise<void>

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'weir-consent-cli-'))
  state = new EmbeddedState(join(home, 'state'))
  await state.open()
  const parts = extensionContext('api')
  identity = new IdentityCache(state, parts.context.log)
  await identity.start()
  close = parts.close
  const context = { ...parts.context, state, identity }
  api = new ApiExtension(config.parse({ endpoint: '127.0.0.1:0' }), context, stubHost({}))
  await api.start()
  await new Directory(state, Date.now).createTenant('acme', {})
})

afterEach(async () => {
  await api.stop(AbortSignal.timeout(1000))
  await close()
  await identity.stop()
  await state.close()
  await rm(home, { recursive: true })
})

async function weir(argv: readonly string[], token?: string) {
  let [out, err] = ['', '']
  const env = { WEIR_ENDPOINT: `http://${api.address}`, ...(token !== undefined && { WEIR_TOKEN: token }) }
  const io = { out: (text: string) => void (out += text), err: (text: string) => void (err += text) }
  const code = await runCli(['consent', ...argv], { ...io, env, tty: false })
  return { code, out, err }
}

type Row = Readonly<Record<string, unknown>> & { readonly id: string }

async function json(argv: readonly string[]) {
  const ran = await weir([...argv, '--json'])
  expect(ran).toMatchObject({ code: 0, err: '' })
  return JSON.parse(ran.out) as { readonly consent: Row; readonly consents: readonly Row[] }
}

const RUN = 'run of the third'
const agreed = (run: string, nowMs = Date.now()) => {
  const trace = traceIdOf('acme', run).toString('hex')
  return isAgreed(identity, { tenant: 'acme', type: 'llm_response_caching', trace }, nowMs)
}

describe('weir consent', () => {
  it('grants for a time and for runs, lists, revokes for ever; every daemon sees it, and records stay', async () => {
    const of = ['--tenant', 'acme', '--by', 'Ada']
    const one = await json(['grant', 'llm_response_caching', ...of, '--run', RUN, '--expires', '2h'])
    expect(one.consent).toMatchObject({ status: 'active', runs: [RUN], granted_by: 'Ada', revoked: null })
    await until(() => agreed(RUN))
    expect(agreed('another')).toBe(false)
    expect(agreed(RUN, Date.now() + 2 * 3_600_000)).toBe(false)
    const all = await json(['grant', 'llm_response_caching', ...of, '--note', 'ticket 4711'])
    expect((await weir(['show', all.consent.id, '--tenant', 'acme'])).out).toMatch(/^runs +all$/m)
    await until(() => agreed('another'))
    const uuid = '3f2504e0-4f89-41d3-9a0c-0305e82c3301'
    await json(['grant', 'analytics', ...of, '--run', uuid.toUpperCase()])
    const revoked = await json(['revoke', all.consent.id, '--tenant', 'acme', '--by', 'Bo'])
    expect(revoked.consent).toMatchObject({ status: 'revoked', revoked_by: 'Bo', granted_by: 'Ada' })
    await until(() => !agreed('another'))
    expect(agreed(RUN)).toBe(true)
    const again = await json(['revoke', all.consent.id, '--tenant', 'acme', '--by', 'Cy'])
    expect(again.consent).toEqual(revoked.consent)
    const { consents } = await json(['ls', '--tenant', 'acme', '--status', 'revoked'])
    expect(consents.map(({ id }) => id)).toEqual([all.consent.id])
    expect((await json(['ls', '--tenant', 'acme'])).consents).toHaveLength(3)
    expect((await weir(['ls', '--tenant', 'acme'])).out).toContain('ticket 4711')
    const records = identity.consentsOf('acme')
    const analytics = records.find(({ type }) => type === 'analytics')
    const trace = uuid.replaceAll('-', '')
    expect(isAgreed(identity, { tenant: 'acme', type: 'analytics', trace }, Date.now())).toBe(true)
    expect(analytics && consentStatus(analytics, Date.now())).toBe('active')
    expect(isAgreedForSome(identity, 'acme', 'model_training', Date.now())).toBe(false)
    expect(identity.consentsOf('default')).toEqual([])
  })

  it('deletes at once what was kept for replays by a consent that is revoked', async () => {
    const kept = dayKey(dayOf(Date.now()), 'acme', traceIdOf('acme', RUN).toString('hex'), '1-0')
    const other = dayKey(dayOf(Date.now()), 'acme', traceIdOf('acme', 'another').toString('hex'), '1-0')
    for (const key of [kept, other]) await state.put(key, Buffer.from('sealed'))
    const of = ['--tenant', 'acme', '--by', 'Ada']
    const { consent } = await json(['grant', 'llm_response_caching', ...of, '--run', RUN])
    await json(['revoke', consent.id, ...of])
    expect([await state.get(kept), (await state.get(other))?.value.length]).toEqual([undefined, 6])
  })

  it('works on the state store alone, and for the tenant that nobody has created', async () => {
    const file = join(home, 'weir.yaml')
    await writeFile(
      file,
      `receivers: { otlp: { protocols: { grpc: {} } } }
exporters: { stdout: {} }
extensions: { state: { driver: embedded, directory: ${home}/state } }
service: { extensions: [state], pipelines: { traces: { receivers: [otlp], exporters: [stdout] } } }
`,
    )
    await json(['grant', 'raw_trace_storage', '--by', 'Ada', '--config', file])
    await until(() => isAgreedForSome(identity, 'default', 'raw_trace_storage', Date.now()))
  })

  it('says what is wrong, and lets the admin of a tenant touch that tenant only', async () => {
    const wrong = [
      ['grant', 'everything', '--by', 'Ada'],
      ['grant', 'analytics'],
      ['grant'],
      ['revoke', 'x'],
      ['ls', 'x'],
      ['forget', 'x'],
      ['grant', 'analytics', '--by', 'Ada', '--expires', 'soon'],
    ]
    for (const argv of wrong) expect([argv, (await weir(argv)).code]).toEqual([argv, 2])
    expect((await weir(['grant', 'analytics', '--by', 'A', '--tenant', 'nobody'])).err).toContain('NOT_FOUND')
    expect((await weir(['revoke', 'nothing', '--by', 'A'])).err).toContain('NOT_FOUND')
    const past = ['grant', 'analytics', '--by', 'A', '--expires', '2020-01-01T00:00:00Z']
    expect((await weir(past)).err).toContain('REQUEST_INVALID')
    expect((await weir(['grant', 'analytics', '--by', 'a\u001b[2J'])).err).toContain('REQUEST_INVALID')
    const ring = new Keyring(state, new Directory(state, Date.now), undefined, Date.now)
    await ring.create({ kind: 'api', roles: ['admin'] })
    const { key, secret } = await ring.create({ kind: 'api', tenant: 'acme', roles: ['admin'] })
    await until(() => identity.key(key.id) !== undefined)
    expect((await weir(['ls', '--tenant', 'other'], secret)).err).toContain('PERMISSION_DENIED')
    expect(await weir(['ls', '--tenant', 'acme'], secret)).toMatchObject({ code: 0 })
    expect((await weir(['ls', '--tenant', 'acme'])).err).toContain('UNAUTHENTICATED')
  })
})
