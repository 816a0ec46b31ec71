import { loadValidators } from '../index.ts'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pino from 'pino'
import { expect, it, onTestFinished } from 'vitest'
import type { Batch } from '../../../pipeline/batch/batch.ts'
import { keyId } from '../../../pipeline/batch/keys.ts'
import { decodeJsonBatch } from '../../../pipeline/batch/otlp-batch.ts'
import type { FollowerTerm, LogWorker, StoredLog } from '../../../pipeline/follower.ts'
import { createMeter } from '../../../pipeline/telemetry/prom-meter.ts'
import type { CursorRecord } from '../../../pipeline/wal/cursor-record.ts'
import { stateKey } from '../../../pipeline/state/state.ts'
import { EmbeddedState } from '../../../pipeline/state/embedded.ts'
import { EmbeddedWal } from '../../../pipeline/wal/embedded.ts'
import { storedLogOf } from '../../../pipeline/wal/stored-log.ts'
import { WalWriter } from '../../../pipeline/wal/writer.ts'
import { config } from '../config.ts'
import { afterwards } from './afterwards.ts'
import { MessageCache } from './message-cache.ts'
import { onlyOf } from './read-run.ts'
import { testMeta } from '../../../test/support/batch-meta.ts'

const loaded = await loadValidators()

const never = new AbortController().signal
const ROOT_WAIT = 10_000
const IDLE = 300_000
const RULES = {
  timelag: { enabled: false },
  sequence: { enabled: false },
  event_frequency: { enabled: false },
  policy: { rules: [{ name: 'errors', scope: 'run', when: 'run.errors > 0', severity: 'ERROR' }] },
}

/** A log, and who judges what is in it; time is the test's. */
async function place(settings: object = RULES, maxMessageBytes = 64 * 1024 * 1024) {
  const directory = await mkdtemp(join(tmpdir(), 'weir-runs-'))
  let nowMs = 1_000_000
  const options = { directory, maxBytes: 64 * 1024 * 1024, durability: 'process' as const }
  const driver = new EmbeddedWal({ ...options, clock: () => nowMs })
  Object.defineProperty(driver, 'maxMessageBytes', { value: maxMessageBytes })
  await driver.open()
  onTestFinished(async () => {
    await driver.close()
    await rm(directory, { recursive: true, force: true })
  })
  const meter = createMeter()
  const writing = { connector: 'wal', driver, meter, onAppended: () => undefined, maxPendingBytes: 1e9 }
  const stored = storedLogOf('wal', driver, new WalWriter(writing))
  const state = new EmbeddedState(join(directory, 'state'))
  await state.open()
  onTestFinished(() => state.close())
  let position = 1
  let data: unknown
  let crashAt = Infinity
  const term: FollowerTerm = {
    record: () => ({ position, data, cursor: 'traces/ingest/validators@runs' }) as CursorRecord,
    save: async (change) => {
      if ('data' in change && crashAt-- <= 0) throw new Error('crashed')
      position = change.position ?? position
      if ('data' in change) data = change.data
    },
    state,
    passed: () => Promise.resolve(1),
    signal: never,
  }
  let read = 0
  let worker: LogWorker | undefined
  /** A new holder: it knows only what was saved. */
  const begin = async () => {
    worker = afterwards(
      config.parse(settings),
      { log: pino({ level: 'silent' }), meter },
      stored,
      ['test'],
      loaded,
    )
    await worker?.begin(term)
    read = position - 1
  }
  await begin()
  const catchUp = () =>
    drain(
      stored,
      worker,
      () => read,
      (to) => (read = to),
      nowMs,
    )
  return {
    driver,
    stored,
    begin,
    position: () => position,
    /** The next but `count` save of a window's progress fails. */
    crash: (count: number) => (crashAt = count),
    /** Read at once: the log's time of a message is when it was sent. */
    send: async (spans: readonly Given[], tenant = 'default', source = 'test/http') => {
      await stored.append(batchOf(spans, tenant, source), never)
      await catchUp()
    },
    /** In one message. */
    sendTogether: async (batches: readonly Batch[]) => {
      await Promise.all(batches.map((batch) => stored.append(batch, never)))
      await catchUp()
    },
    state,
    pass: async (ms: number) => {
      nowMs += ms
      await catchUp()
    },
    verdicts: async (): Promise<string[]> => verdictsIn(stored, await stored.head()),
  }
}

async function drain(
  stored: StoredLog,
  worker: LogWorker | undefined,
  read: () => number,
  setRead: (to: number) => void,
  nowMs: number,
): Promise<void> {
  for (let head = await stored.head(); read() < head; head = await stored.head()) {
    const seqs = Array.from({ length: head - read() }, (_, index) => read() + 1 + index)
    const messages = await stored.read(seqs, never)
    const batches = messages.flatMap(({ seq, batches: all }) =>
      all.map((batch) => ({ batch, seq, walMs: nowMs })),
    )
    setRead(head)
    await worker?.take(batches, head, nowMs)
  }
  await worker?.quiet(read(), nowMs)
}

const RULE = keyId('weir.violation.rule')
const ABOUT = keyId('weir.violation.span_id')

async function verdictsIn(stored: StoredLog, head: number): Promise<string[]> {
  const seqs = Array.from({ length: head }, (_, index) => index + 1)
  const found: string[] = []
  for (const { batches } of await stored.read(seqs, never)) {
    for (const batch of batches) {
      for (let row = 0; row < batch.rows; row++) {
        if (!batch.name(row).startsWith('validate ')) continue
        const trace = Buffer.from(batch.traceId(row)).toString('hex').slice(0, 2)
        const about = batch.attr(row, ABOUT)
        const where = about < 0 ? '' : ` ${batch.text(about).slice(0, 2)}`
        found.push(
          `${batch.meta.tenant} ${trace} ${batch.name(row)} ${batch.text(batch.attr(row, RULE))}${where}`,
        )
      }
    }
  }
  return found
}

interface Given {
  readonly trace: string
  readonly id: string
  readonly parent?: string
  readonly failed?: boolean
  readonly step?: string
  readonly finish?: string
  readonly type?: string
  readonly agent?: string
  readonly run?: string
}

let digests = 0

function batchOf(spans: readonly Given[], tenant: string, source: string, project = ''): Batch {
  const made = spans.map(
    ({ trace, id, parent, failed, step = 'chat', finish = '', agent = '', run = '', type = '' }) => ({
      traceId: trace.padEnd(32, 'a'),
      spanId: id.padEnd(16, 'b'),
      ...(parent !== undefined && { parentSpanId: parent.padEnd(16, 'b') }),
      name: 'step',
      startTimeUnixNano: '1000000000',
      endTimeUnixNano: '2000000000',
      status: { code: failed === true ? 2 : 0 },
      attributes: Object.entries({
        'gen_ai.operation.name': step,
        'agent.run.status': finish,
        'gen_ai.agent.name': agent,
        'agent.run.id': run,
        'toon.type': type,
      }).flatMap(([key, stringValue]) => (stringValue === '' ? [] : [{ key, value: { stringValue } }])),
    }),
  )
  const digest = Buffer.alloc(16)
  digest.writeUInt32LE(++digests)
  const document = { resourceSpans: [{ scopeSpans: [{ spans: made }] }] }
  return decodeJsonBatch(Buffer.from(JSON.stringify(document)), testMeta({ tenant, project, source, digest }))
}

it('judges a run when it has ended, over all that the log has of it', async () => {
  const { send, pass, verdicts } = await place()
  await send([{ trace: '11', id: '02', parent: '01', failed: true }])
  await pass(10_000)
  await send([{ trace: '11', id: '01' }])
  await pass(ROOT_WAIT - 1)
  expect(await verdicts()).toEqual([])
  await pass(1)
  expect(await verdicts()).toEqual(['default 11 validate policy errors'])
})

it('judges a run sooner whose sender has finished it', async () => {
  const { send, pass, verdicts } = await place()
  await send([{ trace: '11', id: '01', failed: true, finish: 'failed' }])
  await pass(1999)
  expect(await verdicts()).toEqual([])
  await pass(1)
  expect(await verdicts()).toEqual(['default 11 validate policy errors'])
})

it('judges a trace whose root does not come when it has been idle, and no trace without an agent', async () => {
  const { send, pass, verdicts, position } = await place()
  await send([{ trace: '11', id: '02', parent: '01', failed: true }])
  await send([{ trace: '22', id: '01', failed: true, step: '' }])
  await pass(IDLE - 1)
  expect(await verdicts()).toEqual([])
  await pass(1)
  expect(await verdicts()).toEqual(['default 11 validate policy errors'])
  expect(position()).toBe(1)
  // What was judged is let go of after another idle time.
  await pass(IDLE)
  expect(position()).toBe(4)
})

it('judges what comes late with the rest of its run, and says only what is new', async () => {
  const { send, pass, verdicts } = await place({
    ...RULES,
    missing_step: { workflows: [{ steps: ['chat', 'execute_tool'] }] },
  })
  await send([{ trace: '11', id: '01', failed: true }])
  await pass(ROOT_WAIT)
  const first = ['default 11 validate policy errors', 'default 11 validate missing_step execute_tool']
  expect(await verdicts()).toEqual(first)
  await send([{ trace: '11', id: '02', parent: '01', step: 'execute_tool' }])
  await pass(ROOT_WAIT)
  // Judged again: the tool is there, the error is known.
  expect(await verdicts()).toEqual(first)
})

it('writes a verdict once, though nothing was saved after it', async () => {
  const { send, pass, verdicts, begin, driver } = await place()
  for (const trace of ['11', '22']) await send([{ trace, id: '01', failed: true }])
  await pass(ROOT_WAIT)
  const { lastSeq } = await driver.info()
  for (let crash = 0; crash < 3; crash++) {
    await begin()
    await pass(0)
    await pass(ROOT_WAIT)
  }
  expect(await verdicts()).toHaveLength(2)
  expect((await driver.info()).lastSeq).toBe(lastSeq)
})

it('judges each tenant by its own policy, though their data is the same', async () => {
  const own = { policy: { rules: [] }, missing_step: { workflows: [{ steps: ['tool:check'] }] } }
  const { send, pass, verdicts } = await place({ ...RULES, tenants: { acme: own } })
  for (const tenant of ['acme', 'zen']) await send([{ trace: '11', id: '01', failed: true }], tenant)
  await pass(ROOT_WAIT)
  expect((await verdicts()).toSorted()).toEqual([
    'acme 11 validate missing_step tool_check',
    'zen 11 validate policy errors',
  ])
})

it('judges what came through its own pipeline, with what came otherwise of the same trace', async () => {
  const { send, pass, verdicts } = await place()
  await send([{ trace: '11', id: '01', failed: true }], 'default', 'test/other/http')
  await send([{ trace: '22', id: '02', parent: '01', failed: true }], 'default', 'jsonl/file')
  await send([{ trace: '22', id: '01' }])
  await pass(IDLE)
  expect(await verdicts()).toEqual(['default 22 validate policy errors'])
})

it('has nothing to do where no policy judges runs', async () => {
  const off = Object.fromEntries(
    ['timelag', 'missing_step', 'sequence', 'event_frequency'].map((name) => [name, { enabled: false }]),
  )
  const { send, pass, verdicts } = await place(off)
  await send([{ trace: '11', id: '01', failed: true }])
  await pass(IDLE)
  expect(await verdicts()).toEqual([])
})

it('reads messages again by their places, without those that were purged', async () => {
  const { send, stored, driver } = await place()
  for (const trace of ['11', '22', '33', '44', '55']) await send([{ trace, id: '01' }])
  await driver.trim(1)
  await driver.purgeTenant('default', 3)
  await send([{ trace: '66', id: '01' }])
  const read = await stored.read([1, 3, 4, 6], never)
  expect(read.map(({ seq, batches }) => [seq, batches.map((batch) => batch.rows)])).toEqual([
    [4, [1]],
    [6, [1]],
  ])
})

it('judges a run whose labels are so long that no message could hold both of them', async () => {
  const { send, pass, verdicts, position } = await place(RULES, 100_000)
  await send([{ trace: '11', id: '02', parent: '01', agent: 'a'.repeat(60_000) }])
  await send([{ trace: '11', id: '01', failed: true, run: 'r'.repeat(60_000) }])
  await pass(ROOT_WAIT)
  expect(await verdicts()).toEqual(['default 11 validate policy errors'])
  await pass(3 * IDLE)
  expect(position()).toBe(4)
})

it('files verdicts under the project of their run, whoever shares its message', async () => {
  const { sendTogether, pass, stored } = await place()
  const make = (trace: string, project: string) =>
    batchOf([{ trace, id: '01', failed: trace === '22' }], 'default', 'test/http', project)
  await sendTogether([make('11', 'red'), make('22', 'blue')])
  expect(await stored.head()).toBe(1)
  await pass(ROOT_WAIT)
  const [verdict] = await stored.read([2], never)
  expect(verdict?.batches.map(({ meta }) => meta.project)).toEqual(['blue'])
})

it('reads of messages that it has no longer in memory only what is of the run', async () => {
  const { stored, sendTogether, begin, pass, verdicts } = await place()
  const make = (trace: string, id: string, failed: boolean) =>
    batchOf(
      [
        { trace, id, parent: '01', failed },
        { trace: 'ff', id },
      ],
      'default',
      'test/http',
    )
  for (const id of ['02', '03', '04', '05', '06', '07']) await sendTogether([make('11', id, id === '06')])
  await begin()
  const cache = new MessageCache(stored)
  const pick = (batch: Batch) => onlyOf(batch, '11'.padEnd(32, 'a'))
  const read = await cache.read([1, 2, 3, 4, 5, 6], pick, never)
  expect(
    read?.map((batch) => [batch.rows, Buffer.from(batch.spanId(0)).toString('hex').slice(0, 2)]),
  ).toEqual(['02', '03', '04', '05', '06', '07'].map((id) => [1, id]))
  await pass(0)
  await pass(IDLE)
  expect(await verdicts()).toEqual(['default 11 validate policy errors'])
})

const HOUR = 3_600_000
const ACROSS = { ...RULES, policy: {}, event_frequency: {} }

/** Runs of one span, and one of 30. */
async function unlike({ send }: { send: (spans: readonly Given[]) => Promise<void> }): Promise<void> {
  for (let run = 10; run < 35; run++) await send([{ trace: String(run), id: '01' }])
  await send(Array.from({ length: 30 }, (_, at) => ({ trace: '99', id: String(at + 10) })))
}

it('judges the runs of an interval together, when no more of them can come', async () => {
  const rig = await place(ACROSS)
  await unlike(rig)
  await rig.pass(HOUR / 2)
  expect(await rig.verdicts()).toEqual([])
  await rig.pass(HOUR)
  expect(await rig.verdicts()).toEqual(['default 99 validate event_frequency unusual_count'])
  // Judged again after a restart, they are in no interval any more.
  await rig.begin()
  await rig.pass(2 * HOUR)
  expect(await rig.verdicts()).toHaveLength(1)
})

it('keeps of a run no more than some kinds of steps, however its sender names them', async () => {
  const rig = await place(ACROSS)
  const steps = ['__proto__', 'x'.repeat(100_000), ...Array.from({ length: 300 }, (_, at) => `step_${at}`)]
  const spans = steps.map((type, at) => ({ trace: '11', id: String(1000 + at), parent: '01', type }))
  await rig.send([{ trace: '11', id: '01' }, ...spans])
  await rig.pass(ROOT_WAIT)
  const [kept] = await rig.state.list(stateKey('run-window', 'traces/ingest/validators@runs'))
  const summary = JSON.parse(Buffer.from(kept?.value ?? '').toString()) as { steps: object; spans: number }
  expect(summary.spans).toBe(303)
  expect(Object.entries(summary.steps).slice(0, 3)).toEqual([
    ['chat', 1],
    ['__proto__', 1],
    ['step_0', 1],
  ])
  expect(Object.keys(summary.steps)).toHaveLength(64)
})

it.each([0, 1])('judges an interval once, though it crashed (%i)', async (count) => {
  const rig = await place(ACROSS)
  await unlike(rig)
  await rig.pass(ROOT_WAIT)
  rig.crash(count)
  await expect(rig.pass(2 * HOUR)).rejects.toThrow('crashed')
  expect(await rig.verdicts()).toHaveLength(count)
  rig.crash(Infinity)
  await rig.begin()
  await rig.pass(0)
  expect(await rig.verdicts()).toHaveLength(1)
})
