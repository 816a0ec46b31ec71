import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { artifacts } from '../processors/artifacts/factory.ts'
import { exporterContext } from '../test/contract/exporter.ts'
import { apiOnChdb, type ApiOnChdb } from '../test/support/api-on-chdb.ts'
import { Script, toonBatches } from '../test/support/run-rig.ts'
import { verb } from './runs.ts'

const artifactsMaker = await artifacts.load()

const ADMIN = 'admin-token-c4nary-0123'
const ACME = 'reader-token-c4nary-456'
const home = mkdtempSync(join(tmpdir(), 'weir-runs-verb-'))
let api: ApiOnChdb

const script = (day: number, end: string): Script =>
  new Script()
    .llm([{ role: 'user', content: 'fly me' }], 'search first')
    .tool('search', { from: 'JFK', day }, { flights: [day], request_id: `r${day}` })
    .tool('book', { flight: 7 }, 'ok')
    .output({ said: end })

beforeAll(async () => {
  api = await apiOnChdb({
    tokens: [
      { token: ADMIN, role: 'admin' },
      { token: ACME, role: 'read', tenant: 'acme' },
    ],
    diff: { profiles: { anyday: { ignore: ['$.day', '$.flights', '$.request_id'] } } },
  })
  const failing = new Script()
    .tool('search', { n: 1 }, 'a')
    .tool('search', { n: 1 }, 'b')
    .tool('pay', { sum: 1 }, null, { status: 'error', error: 'declined' })
    .add('agent', 'reasoning', { thought: 'give up' })
  const runs = [
    ['one', script(1, 'booked').events, 'completed'],
    ['two', script(2, 'booked').events, 'completed'],
    ['three', [...script(1, 'sorry').events], 'completed'],
    ['broken', failing.events, 'failed'],
  ] as const
  for (const [id, events, status] of runs) {
    for (const batch of toonBatches(id, events, 'acme', status)) await api.store(batch)
  }
})
afterAll(async () => {
  await api.stop()
  rmSync(home, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
})

const weir = (argv: readonly string[], token = ACME) => api.verb(verb, argv, { env: { WEIR_TOKEN: token } })
const json = async (argv: readonly string[]): Promise<Record<string, unknown>> =>
  JSON.parse((await weir([...argv, '--json'])).out) as Record<string, unknown>

test('diff shows what was done otherwise, and where', async () => {
  const { code, out } = await weir(['diff', 'one', 'two'])
  expect(code).toBe(0)
  expect(out).toContain('75.0 % agreement: of 2 and 2 tool calls 1 the same, 1 with other arguments')
  expect(out).toContain('outcome  agrees: status same, output same')
  expect(out).toMatch(/~ +2 +2 {2}tool search {2}arguments changed, result changed/)
  expect(out).toContain('arguments $.day: 1 → 2')
  expect(out).not.toContain('request_id')
  expect(out).toContain('… 1 step the same')
  expect((await weir(['diff', 'one', 'two', '--all'])).out).toMatch(/= +4 +4 {2}tool book/)
})

test('a profile of the config, or of a file, says what counts; --exit-code tells scripts', async () => {
  const file = join(home, 'mine.yaml')
  writeFileSync(file, 'ignore: [$.day, $.flights, $.request_id]\nllm: { ignore: [$.said] }\n')
  expect((await weir(['diff', 'one', 'two', '--exit-code'])).code).toBe(1)
  expect((await weir(['diff', 'one', 'two', '--exit-code', '--profile', 'anyday'])).code).toBe(0)
  expect((await weir(['diff', 'one', 'two', '--exit-code', '--profile', file])).code).toBe(0)
  expect((await weir(['diff', 'one', 'three', '--exit-code', '--profile', file])).code).toBe(1)
  await expect(weir(['diff', 'one', 'two', '--profile', 'nope'])).rejects.toThrow(
    /there are: default, strict, anyday/,
  )
  writeFileSync(file, 'ignore: ["$[?(@.x)]"]\n')
  await expect(weir(['diff', 'one', 'two', '--profile', file])).rejects.toThrow(/JSONPath/)
})

test('a diff is kept while the runs are as they were, and made anew when one is not', async () => {
  expect(await json(['diff', 'two', 'one'])).toMatchObject({ cached: false, actions: { score: 0.75 } })
  expect(await json(['diff', 'two', 'one'])).toMatchObject({ cached: true, actions: { score: 0.75 } })
  expect(await json(['diff', 'two', 'one', '--profile', 'strict'])).toMatchObject({ cached: false })
  await api.exec(
    `ALTER TABLE weir.otel_traces UPDATE CostUsd = 1 WHERE RunId = 'two' SETTINGS mutations_sync = 2`,
  )
  expect(await json(['diff', 'two', 'one'])).toMatchObject({
    cached: false,
    spread: { cost_usd: { b: '0' } },
  })
})

test('a fixture holds inputs and outputs up to the error, or to the success', async () => {
  const file = join(home, 'fixture.json')
  expect((await weir(['fixture', 'broken', '--out', file])).code).toBe(0)
  const fixture = JSON.parse(readFileSync(file, 'utf8')) as { steps: { key: string }[] }
  expect(fixture).toMatchObject({
    weir_fixture: 1,
    of: 'error',
    source: { run_id: 'broken', tenant: 'acme', status: 'failed', started: '2026-03-01T10:00:00.000Z' },
    steps: [
      { kind: 'tool', name: 'search', input: { n: 1 }, output: 'a', occurrence: 1 },
      { kind: 'tool', name: 'search', input: { n: 1 }, output: 'b', occurrence: 2 },
      { kind: 'tool', name: 'pay', input: { sum: 1 }, output: 'declined', status: 'error' },
    ],
    expect: { status: 'failed', failed_step: 2, error: 'declined' },
    redacted: false,
  })
  expect(fixture.steps).toHaveLength(3)
  expect(fixture.steps[0]?.key).toBe(fixture.steps[1]?.key)
  await expect(weir(['fixture', 'broken', '--out', file])).rejects.toThrow(
    `--out ${file}: there is such a file already: remove it, or name another`,
  )
  const success = JSON.parse((await weir(['fixture', 'one'])).out) as Record<string, unknown>
  expect(success).toMatchObject({
    of: 'success',
    expect: { status: 'completed', output: { said: 'booked' } },
  })
  await expect(weir(['fixture', 'broken', '--success'])).rejects.toThrow(/no success/)
  await expect(weir(['fixture', 'one', '--error'])).rejects.toThrow(/no step.*ask for the success/)
  const { events } = new Script().add('agent', 'reasoning', { thought: 'hm' })
  for (const batch of toonBatches('aborted', events, 'acme', 'failed')) await api.store(batch)
  await expect(weir(['fixture', 'aborted'])).rejects.toThrow(/nothing to make a fixture of/)
})

test('what was moved out of an event is shown by its beginning', async () => {
  const processor = artifactsMaker.create(
    artifacts.config.parse({ directory: join(home, 'artifacts'), envelope: false, min_bytes: '4KiB' }),
    exporterContext('artifacts'),
  )
  await processor.start?.()
  const { events } = new Script().tool('search', { q: 'a'.repeat(9000) }, `found ${'b'.repeat(9000)}`)
  for (const batch of toonBatches('large', events, 'acme', 'completed')) {
    await processor.process(batch)
    await api.store(batch)
  }
  await processor.stop?.(AbortSignal.timeout(10_000))
  const { steps } = JSON.parse((await weir(['fixture', 'large'])).out) as { steps: object[] }
  expect(steps).toMatchObject([
    {
      kind: 'tool',
      name: 'search',
      input: expect.stringContaining('"q":"aaa') as string,
      output: expect.stringContaining('found bbb') as string,
    },
  ])
})

test('runs are listed and shown, to whom they belong', async () => {
  expect((await weir(['ls', '--since', '1s'])).out).toBe(
    'no run started in the last 1s; --since looks further back\n',
  )
  await expect(weir(['ls', '--status', 'fialed'])).rejects.toThrow(/none of running, completed, failed/)
  const listed = await weir(['ls', '--since', '99999d', '--status', 'failed'])
  expect(listed.out).toMatch(/broken +acme +planner +failed/)
  expect(listed.out).not.toContain('three')
  expect((await weir(['show', 'broken'])).out).toMatch(/5 +✗ tool pay .*\{"sum":1\} +declined/)
  await api.exec(
    `INSERT INTO weir.otel_traces (TenantId, RunId, TraceId, SpanName) VALUES ('other', 'one', '00', 'x')`,
  )
  expect((await weir(['show', 'one'])).code).toBe(0)
  await expect(weir(['show', 'one', '--tenant', 'other'])).rejects.toThrow(/another tenant/)
  await expect(weir(['show', 'one'], ADMIN)).rejects.toThrow(/acme, other have a run one/)
  expect((await weir(['show', 'one', '--tenant', 'acme'], ADMIN)).code).toBe(0)
  await expect(weir(['diff', 'one', 'nobody'])).rejects.toThrow(/no run nobody/)
})
