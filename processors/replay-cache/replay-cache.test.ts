import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Batch } from '../../pipeline/batch/batch.ts'
import { keyId } from '../../pipeline/batch/keys.ts'
import { decodeBatch } from '../../pipeline/batch/otlp-batch.ts'
import type { Consent } from '../../pipeline/consent/record.ts'
import type { FollowerTerm } from '../../pipeline/follower.ts'
import type { Tenant } from '../../pipeline/identity/records.ts'
import { Vault } from '../../pipeline/identity/vault.ts'
import { NOBODY_KNOWN } from '../../pipeline/identity/view.ts'
import { forgetConsented, keptCalls } from '../../pipeline/run-replay/cache.ts'
import { DAY_MS } from '../../pipeline/run-replay/cache-record.ts'
import { TenantKeys } from '../../pipeline/run-replay/tenant-keys.ts'
import { REPLAY_KEY } from '../../pipeline/runs/recorded.ts'
import { Secret } from '../../pipeline/secret.ts'
import { EmbeddedState } from '../../pipeline/state/embedded.ts'
import { stateKey } from '../../pipeline/state/state.ts'
import { createLogger } from '../../pipeline/telemetry/logger.ts'
import { createMeter } from '../../pipeline/telemetry/prom-meter.ts'
import { writeRequest, type Attributes } from '../../proto/otlp/write.ts'
import { AnswerKeeper } from './answer-keeper.ts'
import { config } from './config.ts'
import { ReplayCache } from './replay-cache.ts'

const MASTER = '11'.repeat(32)
const NOW = Date.UTC(2026, 7, 3, 12)
const TRACE = 'ab'.repeat(16)

let home: string
let state: EmbeddedState
let consents: Consent[]
let nowMs: number
const vault = new Vault(new Secret(MASTER))
const identity = {
  ...NOBODY_KNOWN,
  tenants: () => [{ id: 'acme' } as Tenant],
  consentsOf: (tenant: string) => consents.filter((each) => each.tenant === tenant),
}
const log = createLogger({ level: 'error', encoding: 'json', resource: {} })
const context = () => ({
  id: 'replay_cache',
  state,
  identity,
  vault,
  log,
  meter: createMeter(),
  clock: () => nowMs,
})
const parts = () => ({ state, keys: new TenantKeys(state, vault), consents: identity })

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'weir-replay-cache-'))
  state = new EmbeddedState(home)
  await state.open()
  nowMs = NOW
  consents = [agreement()]
})

afterEach(async () => {
  await state.close()
  await rm(home, { recursive: true })
})

function agreement(change: Partial<Consent> = {}): Consent {
  return {
    v: 1,
    tenant: 'acme',
    id: `c${consents?.length ?? 0}`,
    type: 'llm_response_caching',
    granted_by: 'Ada',
    note: '',
    granted_ms: NOW,
    ...change,
  }
}

interface Call {
  readonly ask: string
  readonly say?: string
  readonly more?: Attributes
}

function batchOf(calls: readonly Call[], tenant = 'acme', trace = TRACE): Batch {
  const spans = calls.map(({ ask, say = `said ${ask}`, more = [] }, at) => ({
    traceId: Buffer.from(trace, 'hex'),
    spanId: Buffer.from(String(at + 1).padStart(16, '0'), 'hex'),
    name: 'chat',
    kind: 3,
    startNs: BigInt(NOW + at) * 1_000_000n,
    endNs: BigInt(NOW + at + 5) * 1_000_000n,
    statusCode: 1,
    attributes: [
      ['gen_ai.operation.name', 'chat'],
      ['gen_ai.request.model', 'gpt-4o'],
      ['gen_ai.input.messages', JSON.stringify([{ role: 'user', id: `m${at}`, content: ask }])],
      ['gen_ai.output.messages', JSON.stringify([{ role: 'assistant', content: say }])],
      ...more,
    ] as Attributes,
  }))
  return decodeBatch(writeRequest([{ resource: [], scope: { name: 't', version: '1' }, spans }]), {
    signal: 'traces',
    tenant,
    project: '',
    principal: '',
    source: 'otlp/grpc',
    receivedAtMs: nowMs,
    digest: new Uint8Array(16),
  })
}

async function keysOf(batch: Batch): Promise<string[]> {
  const processor = new ReplayCache(context())
  await processor.start()
  await processor.process(batch)
  const encoded = decodeBatch(batch.encode(), batch.meta)
  return Array.from({ length: encoded.rows }, (_, row) => {
    const ref = encoded.attr(row, keyId(REPLAY_KEY))
    return ref < 0 ? '' : encoded.text(ref)
  })
}

async function keep(batch: Batch, seq = 1, options = {}, walMs = nowMs): Promise<AnswerKeeper> {
  const keeper = new AnswerKeeper(config.parse(options), context())
  let position = 0
  await keeper.begin({
    record: () => ({ position }) as ReturnType<FollowerTerm['record']>,
    save: (change) => Promise.resolve(void (position = change.position ?? position)),
    state,
    passed: () => Promise.resolve(0),
    signal: new AbortController().signal,
  })
  await keysOf(batch)
  const stored = decodeBatch(batch.encode(), batch.meta)
  await keeper.take([{ batch: stored, seq, walMs }], seq)
  return keeper
}

it('reads nothing again, nor waits behind the end of the log: its position is that of the next message', async () => {
  const keeper = new AnswerKeeper(config.parse({}), context())
  const positions: unknown[] = []
  await keeper.begin({
    record: () => ({ position: 4 }) as ReturnType<FollowerTerm['record']>,
    save: ({ position }) => Promise.resolve(void positions.push(position)),
    state,
    passed: () => Promise.resolve(0),
    signal: new AbortController().signal,
  })
  await keeper.quiet(3)
  await keeper.quiet(4)
  expect(positions).toEqual([5])
})

const kept = (trace = TRACE) => keptCalls(parts(), { tenant: 'acme', trace }, nowMs)

describe('the key of a request', () => {
  it('is equal for equal requests of a tenant, whatever their ids, and for no others', async () => {
    const one = await keysOf(batchOf([{ ask: 'a' }, { ask: 'b' }, { ask: 'a', say: 'other' }]))
    expect(one[0]).toMatch(/^[0-9a-f]{32}$/)
    expect(one[0]).toBe(one[2])
    expect(one[0]).not.toBe(one[1])
    expect(await keysOf(batchOf([{ ask: 'a' }]))).toEqual([one[0]])
    const other: Attributes = [['gen_ai.request.temperature', 0.7]]
    expect(await keysOf(batchOf([{ ask: 'a', more: other }]))).not.toEqual([one[0]])
    consents.push(agreement({ tenant: 'bmce' }))
    const [foreign] = await keysOf(batchOf([{ ask: 'a' }], 'bmce'))
    expect(foreign).toMatch(/^[0-9a-f]{32}$/)
    expect(foreign).not.toBe(one[0])
  })

  it('is written by consent only, in force and for this run; what a sender wrote in its place is not kept', async () => {
    const forged: Attributes = [[REPLAY_KEY, 'f'.repeat(32)]]
    const runs = [TRACE.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')]
    consents = [agreement({ runs })]
    expect((await keysOf(batchOf([{ ask: 'a', more: forged }])))[0]).not.toBe('f'.repeat(32))
    expect(await keysOf(batchOf([{ ask: 'a', more: forged }], 'acme', 'cd'.repeat(16)))).toEqual([''])
    for (const change of [{ revoked_ms: NOW }, { expires_ms: NOW }, { type: 'analytics' as const }]) {
      consents = [agreement(change)]
      expect(await keysOf(batchOf([{ ask: 'a', more: forged }]))).toEqual([''])
    }
    consents = [agreement()]
    const twice = batchOf([{ ask: 'a', more: [...forged, ...forged] }])
    const own = (await keysOf(batchOf([{ ask: 'a' }])))[0]
    expect(await keysOf(twice)).toEqual([own])
    expect(Buffer.from(twice.encode()).includes('f'.repeat(32))).toBe(false)
  })

  it('survives a change of the master key, and needs one', async () => {
    const before = await keysOf(batchOf([{ ask: 'a' }]))
    const next = new Vault(new Secret('22'.repeat(32)), [new Secret(MASTER)])
    for (const sealed of [next, new Vault(new Secret('22'.repeat(32)))]) {
      const processor = new ReplayCache({ ...context(), vault: sealed })
      await processor.start()
      const batch = batchOf([{ ask: 'a' }])
      await processor.process(batch)
      const ref = decodeBatch(batch.encode(), batch.meta)
      expect(ref.text(ref.attr(0, keyId(REPLAY_KEY)))).toBe(before[0])
    }
    expect(() => new ReplayCache({ ...context(), vault: undefined }).start()).toThrow(/master_key/)
  })
})

describe('the answers that are kept', () => {
  it('are found by key and occurrence, sealed in the store, and once however often they are read', async () => {
    const calls = [{ ask: 'a', say: 'first' }, { ask: 'b' }, { ask: 'a', say: 'second' }]
    await keep(batchOf(calls))
    await keep(batchOf(calls))
    const found = await kept()
    const [a, b, again] = found
    expect(found.map(({ occurrence }) => occurrence)).toEqual([0, 0, 1])
    expect(a?.key).toBe(again?.key)
    expect(b?.key).not.toBe(a?.key)
    expect(found.map(({ answer }) => JSON.stringify(answer.value))).toEqual([
      expect.stringContaining('first'),
      expect.stringContaining('said b'),
      expect.stringContaining('second'),
    ])
    const entries = await state.list(stateKey('replay'))
    expect(entries).toHaveLength(1)
    for (const { value } of entries) expect(Buffer.from(value).toString('latin1')).not.toContain('first')
    // A record that is put in another's place does not open.
    await state.put(stateKey('replay', '20668', 'acme', 'cd'.repeat(16), '1-x-0'), entries[0]!.value)
    expect(await kept('cd'.repeat(16))).toEqual([])
  })

  it("are nobody's without consent, and over when their time is", async () => {
    await keep(batchOf([{ ask: 'a' }]), 1, { expiry: '48h' })
    nowMs = NOW + 2 * DAY_MS - 1
    expect(await kept()).toHaveLength(1)
    nowMs = NOW + 2 * DAY_MS
    expect(await kept()).toEqual([])
    nowMs = NOW
    consents = []
    expect(await kept()).toEqual([])
    await keep(batchOf([{ ask: 'b' }]), 2)
    consents = [agreement()]
    expect(await kept()).toHaveLength(1)
  })

  it('are deleted by days when they are over, and when the consent is revoked', async () => {
    const keeper = await keep(batchOf([{ ask: 'a' }]), 1, { expiry: '48h' })
    await keep(batchOf([{ ask: 'a' }], 'acme', 'cd'.repeat(16)), 2, { expiry: '48h' }, NOW + DAY_MS)
    nowMs = NOW + 3 * DAY_MS
    await keeper.quiet(3)
    const days = () => state.list(stateKey('replay')).then((all) => all.map(({ key }) => key.split('.')[3]))
    expect(await days()).toEqual(['cd'.repeat(16)])
    const ended = agreement({ revoked_ms: nowMs })
    expect(await forgetConsented(state, ended, [ended, agreement({ id: 'x' })], nowMs)).toBe(false)
    expect(await days()).toHaveLength(1)
    const one = agreement({ runs: ['ef'.repeat(16)], revoked_ms: nowMs })
    expect(await forgetConsented(state, one, [one], nowMs)).toBe(true)
    expect(await days()).toHaveLength(1)
    await forgetConsented(state, ended, [ended], nowMs)
    expect(await days()).toEqual([])
  })

  it('leave the store when the consent has expired by itself, unless another one covers them', async () => {
    consents = [agreement({ expires_ms: NOW + DAY_MS })]
    const keeper = await keep(batchOf([{ ask: 'a' }]))
    const left = async () => (await state.list(stateKey('replay'))).length
    await keeper.quiet(2)
    expect(await left()).toBe(1)
    nowMs = NOW + DAY_MS
    consents.push(agreement({ id: 'other' }))
    await keeper.quiet(3)
    expect(await left()).toBe(1)
    nowMs += 2 * 3_600_000
    consents.pop()
    await keeper.quiet(4)
    expect(await left()).toBe(0)
  })

  it("stay within the tenant's bytes: the oldest day leaves first", async () => {
    const say = Array.from({ length: 300 }, (_, at) => (at * 2_654_435_761) % 4_294_967_291).join(' ')
    for (let day = 0; day < 4; day++) {
      nowMs = NOW + day * DAY_MS
      const keeper = await keep(batchOf([{ ask: 'a', say }], 'acme', `${day}a`.repeat(16)), day + 1, {
        max_bytes_per_tenant: '4KiB',
      })
      await keeper.quiet(day + 1)
    }
    const left = await state.list(stateKey('replay'))
    expect(left.reduce((sum, { value }) => sum + value.length, 0)).toBeLessThanOrEqual(4096)
    expect(left.map(({ key }) => key.split('.')[3]?.[0])).toEqual(['2', '3'])
  })
})
