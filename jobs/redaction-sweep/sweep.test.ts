import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { AuditEntry } from '../../pipeline/audit/audit.ts'
import { reject } from '../../pipeline/fault.ts'
import type { JobContext, Task } from '../../pipeline/jobs/job.ts'
import type { RedactRequest } from '../../pipeline/redact.ts'
import { dayKey, dayOf } from '../../pipeline/run-replay/cache-record.ts'
import { EmbeddedState } from '../../pipeline/state/embedded.ts'
import { stateKey } from '../../pipeline/state/state.ts'
import { cursorKey, encodeCursor, newCursor } from '../../pipeline/wal/cursor-record.ts'
import { config, params } from './config.ts'
import { redactionSweep } from './factory.ts'

const redactionSweepMaker = await redactionSweep.load()

const NOW = Date.UTC(2026, 10, 21, 12)
const HOUR = 3_600_000
const TRACE = 'ab'.repeat(16)
let home: string
let state: EmbeddedState
let asked: RedactRequest[]
let audited: AuditEntry[]
let rules: { id: string; rules: string }[]
/** Exporters that do not run, and those that do not have the run that is asked for. */
let down: string[]
let lacking: string[]
/** Ids, and with what checkpoint they were asked. */
let began: (readonly [id: string, checkpoint: unknown])[]
let head: number

beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), 'weir-sweep-'))
  state = new EmbeddedState(home)
  await state.open()
  asked = []
  audited = []
  rules = [{ id: 'sanitizer', rules: 'v1' }]
  down = []
  lacking = []
  began = []
  head = 0
})
afterEach(async () => {
  await state.close()
  rmSync(home, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
})

/** Two stores that note what they are asked; the second one dies while `dies`. */
function job(options: object = {}, dies: () => boolean = () => false) {
  const store = (id: string) => ({
    id,
    pipelines: ['traces/store'],
    exporter: {
      redactable: {
        async redact(
          request: RedactRequest,
          work: {
            checkpoint: unknown
            save(at: unknown): Promise<void>
            changed(tenant: string, trace: string): Promise<void>
          },
        ) {
          began.push([id, work.checkpoint])
          if (lacking.includes(id)) throw reject('NOT_FOUND', 'there is no such run')
          asked.push(request)
          if (!request.dryRun) await work.changed('acme', TRACE)
          if (id === 'b' && dies()) {
            await work.save('half')
            throw new Error('killed')
          }
          return { spans: 10, changed: work.checkpoint === 'half' ? 1 : 2 }
        },
      },
    },
  })
  const context = {
    state,
    identity: { consentsOf: () => [{ type: 'llm_response_caching', revoked_ms: NOW }] },
    clock: () => NOW,
    audit: { append: (entry: AuditEntry) => Promise.resolve(audited.push(entry)) },
    stores: {
      exporters: () =>
        [store('b'), { id: 's3', pipelines: [], exporter: {} }, store('a')].filter(
          ({ id }) => !down.includes(id),
        ),
      redactables: () => new Map(['a', 'b'].map((id) => [id, store(id).exporter.redactable])),
      logs: () => [{ connector: 'wal', head: () => Promise.resolve(head) }],
      route: (pipeline: string, id: string) => ({
        feeders: [{ connector: 'wal', cursor: `${pipeline}/${id}` }],
      }),
      redactors: () => rules.map((each) => ({ ...each, redact: () => Promise.resolve() })),
    },
  } as unknown as JobContext
  return redactionSweepMaker.create(config.parse(options), context)
}

let checkpoint: unknown
function task(given: object = {}, more: Partial<Task> = {}): Task {
  return {
    job: 'redaction_sweep',
    id: '1',
    scheduledAtMs: NOW,
    dryRun: false,
    params: params.parse(given),
    by: 'schedule',
    checkpoint: undefined,
    save: (at) => Promise.resolve(void (checkpoint = at)),
    progress: () => undefined,
    clock: () => NOW,
    ...more,
  }
}

const run = (sweep: ReturnType<typeof job>, one: Task) => sweep.run(one, new AbortController().signal)

it('looks at the window of every store twice behind a change of rules, and then no more', async () => {
  const sweep = job({ window: '24h', behind: '1h' })
  const report = await run(sweep, task())
  expect(report.counts).toEqual({ spans: 20, changed: 4 })
  expect(asked).toMatchObject(
    [1, 2].map(() => ({ fromMs: NOW - 24 * HOUR, toMs: NOW - HOUR, dryRun: false })),
  )
  await run(sweep, task())
  expect(asked).toHaveLength(4)
  expect((await run(sweep, task())).notes).toEqual([
    'a: looked at by these rules already',
    'b: looked at by these rules already',
  ])
  expect(asked).toHaveLength(4)
  rules = [{ id: 'sanitizer', rules: 'v2' }]
  await run(sweep, task())
  expect(asked).toHaveLength(6)
  await run(sweep, task({ force: true }))
  expect(asked).toHaveLength(8)
})

it('looks at one run whatever its age, and says nothing about the rest by it', async () => {
  const sweep = job()
  await run(sweep, task({ run: 'r1', tenant: 'acme' }))
  expect(asked[0]).toMatchObject({ run: 'r1', tenant: 'acme', fromMs: 0 })
  expect(asked[0]?.toMs).toBeGreaterThan(NOW)
  await run(sweep, task())
  await run(sweep, task())
  expect(asked).toHaveLength(6)
  expect(audited.slice(0, 2)).toMatchObject([
    { action: 'redaction.sweep', object: 'r1', tenant: 'acme', outcome: 'begun' },
    { outcome: 'ok', details: { exporter: 'a', by: 'schedule', begun: 1, spans: 10, changed: 2 } },
  ])
})

it('a dry run writes nothing down', async () => {
  const sweep = job()
  const report = await run(sweep, task({}, { dryRun: true }))
  expect(report.counts).toEqual({ spans: 20, would_change: 4 })
  expect(audited).toEqual([])
  await run(sweep, task())
  await run(sweep, task())
  expect(asked).toHaveLength(6)
})

it('goes on where it was: the same time, the store that was not done, from that one’s checkpoint', async () => {
  let isDead = true
  const sweep = job({}, () => isDead)
  await expect(run(sweep, task())).rejects.toThrow('killed')
  isDead = false
  const report = await run(sweep, task({}, { checkpoint, clock: () => NOW + HOUR }))
  expect(report.counts).toEqual({ spans: 20, changed: 3 })
  expect(asked).toHaveLength(3)
  expect(asked[2]).toEqual(asked[1])
  const entries = audited.filter(({ details }) => details?.['exporter'] === 'b')
  expect(entries).toMatchObject([
    { outcome: 'begun' },
    { outcome: 'failed', details: { begun: 3, code: 'INTERNAL' } },
    { outcome: 'begun' },
    { outcome: 'ok', details: { begun: 5, changed: 1 } },
  ])
})

it('what was looked at before an interruption was not by the rules that came meanwhile', async () => {
  let isDead = true
  const sweep = job({}, () => isDead)
  await expect(run(sweep, task())).rejects.toThrow('killed')
  isDead = false
  rules = [{ id: 'sanitizer', rules: 'v2' }]
  await run(sweep, task({}, { checkpoint }))
  asked = []
  await run(sweep, task())
  await run(sweep, task())
  expect(asked).toHaveLength(4)
})

it('wants to know whose rules, where there are several', async () => {
  rules = [...rules, { id: 'sanitizer/strict', rules: 'v1' }]
  await expect(run(job(), task())).rejects.toThrow(/name one of sanitizer, sanitizer\/strict/)
  await run(job({ sanitizer: 'sanitizer/strict' }), task())
  expect(asked).toHaveLength(2)
  rules = []
  await expect(run(job(), task())).rejects.toMatchObject({ code: 'NOT_FOUND' })
})

it('takes along what is kept for replays of a run that it changes, and of no other', async () => {
  const kept = (day: number, trace: string) => dayKey(dayOf(NOW) - day, 'acme', trace, '1-0')
  const other = kept(0, 'cd'.repeat(16))
  for (const key of [kept(0, TRACE), kept(6, TRACE), other]) await state.put(key, Buffer.from('sealed'))
  const left = async () => (await state.list(stateKey('replay'))).map(({ key }) => key)
  await run(job(), task({}, { dryRun: true }))
  expect(await left()).toHaveLength(3)
  await run(job(), task())
  expect(await left()).toEqual([other])
})

it('does not end as done while an exporter that may hold spans does not run', async () => {
  const sweep = job()
  down = ['a']
  await expect(run(sweep, task({ run: 'r1', tenant: 'acme' }))).rejects.toMatchObject({
    code: 'EXPORT_UNAVAILABLE',
    verdict: { do: 'retry' },
  })
  expect(began.map(([id]) => id)).toEqual(['b'])
  down = []
  const report = await run(sweep, task({ run: 'r1', tenant: 'acme' }, { checkpoint }))
  expect(began.map(([id]) => id)).toEqual(['b', 'a'])
  expect(report.counts).toEqual({ spans: 20, changed: 4 })
})

it('looks for a run in every store, and misses it only where none has it', async () => {
  const sweep = job()
  lacking = ['a']
  const report = await run(sweep, task({ run: 'r1', tenant: 'acme' }))
  expect(report.counts).toEqual({ spans: 10, changed: 2 })
  lacking = ['a', 'b']
  await expect(run(sweep, task({ run: 'r1', tenant: 'acme' }))).rejects.toMatchObject({ code: 'NOT_FOUND' })
})

it('gives the checkpoint of one store to no other that has come up meanwhile', async () => {
  let isDead = true
  const sweep = job({}, () => isDead)
  down = ['a']
  await expect(run(sweep, task({ force: true }))).rejects.toThrow('killed')
  isDead = false
  down = []
  await run(sweep, task({ force: true }, { checkpoint }))
  expect(began[1]).toEqual(['a', undefined])
})

it('looks the second time when what was taken in under the old rules is stored', async () => {
  const sweep = job()
  const at = async (cursor: string, position: number) =>
    state.put(cursorKey('wal', cursor), encodeCursor(newCursor(cursor, position, NOW)))
  head = 7
  await at('traces/store/a', 8)
  await at('traces/store/b', 7)
  await run(sweep, task())
  head = 100
  const report = await run(sweep, task())
  expect(began.map(([id]) => id)).toEqual(['a', 'b', 'a'])
  expect(report.notes).toEqual([
    'b: waits for traces/store/b, which has yet to bring what was taken in under the old rules',
  ])
  await at('traces/store/b', 8)
  await run(sweep, task())
  await run(sweep, task())
  expect(began.map(([id]) => id)).toEqual(['a', 'b', 'a', 'b'])
})
