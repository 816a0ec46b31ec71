import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { entryOf, gate, JobRig, NOTHING } from '../../test/support/job-rig.ts'
import { faultOf, reject, retry } from '../fault.ts'
import { changeRecord, HISTORY, listRuns, MAX_QUEUE, readRecord, writeRun, type RunRecord } from './record.ts'
import type { Task } from './job.ts'

/** Daemons that share one real state store; the lease's time is real, the clock is the test's. */

const HOUR_MS = 3_600_000
let rig: JobRig

beforeEach(async () => {
  rig = await new JobRig().open()
})
afterEach(() => rig.close())

/** Runs until it is told to end. */
function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, fail) => {
    signal.addEventListener('abort', () => fail(new Error('ended')), { once: true })
  })
}

describe('a run that somebody asks for', () => {
  it('comes with its parameters, and is remembered', async () => {
    const entry = entryOf({}, z.strictObject({ tenant: z.string() }))
    await rig.daemon(entry, ({ params, by, dryRun }) => {
      const { tenant } = params as { tenant: string }
      return Promise.resolve({ counts: { rows: 3 }, notes: [`${tenant} ${by} ${dryRun}`] })
    })
    const id = await rig.desk(entry).ask('tidy', { params: { tenant: 'acme' }, dryRun: true, by: 'ann' })
    const [run] = await rig.ended(entry, 1)
    const report = { counts: { rows: 3 }, notes: ['acme ann true'] }
    expect(run).toMatchObject({ id, outcome: 'success', by: 'ann', report })
    await expect(rig.ask(entry)).rejects.toMatchObject({
      code: 'REQUEST_INVALID',
      message: 'params.tenant: is required',
    })
    const wrong = { params: { tenant: 7, tenat: 'acme' }, dryRun: true, by: 'ann' }
    await expect(rig.desk(entry).ask('tidy', wrong)).rejects.toMatchObject({
      code: 'REQUEST_INVALID',
      message:
        'params.tenant: must be a string, got a number (7); put it in quotes; params.tenat: unknown key "tenat"; did you mean "tenant"?',
    })
    const other = rig.desk(entry).ask('other', { params: {}, dryRun: false, by: 'ann' })
    await expect(other).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })

  it('that fails says why; what may pass goes on from the checkpoint', async () => {
    const seen: unknown[] = []
    const entry = entryOf()
    await rig.daemon(entry, async (task) => {
      seen.push(task.checkpoint)
      if (task.id === '1') throw reject('EXPORT_REJECTED', 'no such table')
      if (task.checkpoint === undefined) {
        await task.save({ at: 7 })
        throw retry('EXPORT_UNAVAILABLE', 'down')
      }
      return NOTHING
    })
    await rig.ask(entry)
    await rig.ask(entry)
    const [first, second] = await rig.ended(entry, 2)
    expect(first).toMatchObject({ id: '1', outcome: 'failure', error: 'no such table' })
    expect(second).toMatchObject({ id: '2', outcome: 'success' })
    expect(seen).toEqual([undefined, undefined, { at: 7 }])
  })

  it('waits for the one before; queue, history and reports are bounded', async () => {
    const held = gate()
    const entry = entryOf()
    let active = 0
    await rig.daemon(entry, async () => {
      active += 1
      expect(active).toBe(1)
      await held.passed
      active -= 1
      return { counts: { n: 1 }, notes: Array.from({ length: 3000 }, () => 'x'.repeat(100)), details: 'y' }
    })
    await rig.ask(entry)
    await expect.poll(() => active).toBe(1)
    for (let each = 0; each < MAX_QUEUE; each++) await rig.ask(entry)
    await expect(rig.ask(entry)).rejects.toMatchObject({ code: 'CONFLICT' })
    held.open()
    await rig.ended(entry, MAX_QUEUE + 1)
    const runs = await rig.endedNow(entry)
    expect(JSON.stringify(runs[0]?.report).length).toBeLessThan(64 * 1024)
    expect(runs[0]?.report?.notes.at(-1)).toContain('too long')
    const run = { ...runs[0], v: 1 } as RunRecord
    for (let id = 1; id <= HISTORY + 20; id++) await writeRun(rig.state, 'tidy', { ...run, id: String(id) })
    const kept = await listRuns(rig.state, 'tidy')
    expect(kept.map(({ id }) => Number(id))).toEqual(
      Array.from({ length: HISTORY }, (_, at) => HISTORY + 20 - at),
    )
    await expect(rig.desk(entry).run('tidy', '1')).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })

  it('can be cancelled, waiting or running', async () => {
    const entry = entryOf()
    const begun = gate()
    await rig.daemon(entry, async (_task, signal) => {
      begun.open()
      return untilAborted(signal)
    })
    await rig.ask(entry)
    await begun.passed
    await rig.ask(entry)
    await rig.desk(entry).cancel('tidy', '2', 'bob')
    await rig.desk(entry).cancel('tidy', '1', 'bob')
    const [first, second] = await rig.ended(entry, 2)
    expect(first).toMatchObject({ id: '1', outcome: 'cancelled', error: 'cancelled by bob' })
    expect(second).toMatchObject({ id: '2', outcome: 'cancelled' })
    await expect(rig.desk(entry).cancel('tidy', '1', 'bob')).rejects.toMatchObject({ code: 'CONFLICT' })
    await expect(rig.desk(entry).cancel('tidy', '9', 'bob')).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })
})

describe('a schedule', () => {
  it('runs each tick once though two daemons have it, and tells the metrics', async () => {
    const entry = entryOf({ every: '1h' })
    const ran: number[] = []
    const work = (task: Task): Promise<typeof NOTHING> => {
      ran.push(task.scheduledAtMs)
      return Promise.resolve(NOTHING)
    }
    const [one, two] = [await rig.daemon(entry, work), await rig.daemon(entry, work)]
    await expect.poll(() => readRecord(rig.state, 'tidy')).toBeDefined()
    const start = rig.nowMs
    for (let hour = 1; hour <= 4; hour++) {
      rig.nowMs = start + hour * HOUR_MS
      const runs = await rig.ended(entry, hour)
      expect(runs.at(-1)).toMatchObject({ by: 'schedule', outcome: 'success', atMs: rig.nowMs })
    }
    expect(ran).toEqual([1, 2, 3, 4].map((hour) => start + hour * HOUR_MS))
    for (const { meter } of [one, two]) {
      await expect
        .poll(async () => JSON.stringify(await meter.snapshot()))
        .toContain(String(rig.nowMs / 1000))
    }
  })

  it('does not begin with the past; then makes up for what was missed by one run, or by none', async () => {
    const once = entryOf({ every: '1h' })
    const first = await rig.daemon(once, () => Promise.resolve(NOTHING))
    await expect.poll(() => readRecord(rig.state, 'tidy')).toBeDefined()
    await first.stop()
    expect(await rig.endedNow(once)).toEqual([])
    rig.nowMs += 100 * HOUR_MS + 1
    const second = await rig.daemon(once, () => Promise.resolve(NOTHING))
    const [run] = await rig.ended(once, 1)
    expect(run?.atMs).toBe(rig.nowMs - 1)
    await second.stop()

    const none = entryOf({ every: '1h', catch_up: 'none' })
    rig.nowMs += 100 * HOUR_MS + 120_000
    await rig.daemon(none, () => Promise.resolve(NOTHING))
    await expect.poll(async () => (await readRecord(rig.state, 'tidy'))?.tickMs).toBe(rig.nowMs - 120_001)
    expect(await rig.endedNow(none)).toHaveLength(1)
    rig.nowMs += HOUR_MS - 120_000
    expect(await rig.ended(none, 2)).toHaveLength(2)
  })

  it('that changes begins with the change', async () => {
    const node = await rig.daemon(entryOf({ schedule: '0 2 * * *' }), () => Promise.resolve(NOTHING))
    await expect.poll(() => readRecord(rig.state, 'tidy')).toBeDefined()
    rig.nowMs += HOUR_MS / 2
    const changed = entryOf({ schedule: '0 * * * *' })
    expect(await node.apply([changed])).toEqual(['job:tidy', 'job:tidy'])
    expect(await node.apply([changed])).toEqual([])
    await expect.poll(async () => (await readRecord(rig.state, 'tidy'))?.timing).toContain('0 * * * *')
    expect(await rig.endedNow(changed)).toEqual([])
    rig.nowMs += HOUR_MS
    expect(await rig.ended(changed, 1)).toHaveLength(1)
  })

  it('ends a run at its deadline, interruptions included', async () => {
    const entry = entryOf({ deadline: '1s' })
    const begun = gate()
    const one = await rig.daemon(entry, async (_task, signal) => {
      begun.open()
      return untilAborted(signal)
    })
    await rig.ask(entry)
    await begun.passed
    await one.stop()
    rig.nowMs += 2000
    let again = 0
    await rig.daemon(entry, () => {
      again += 1
      return Promise.resolve(NOTHING)
    })
    const [run] = await rig.ended(entry, 1)
    expect(run).toMatchObject({ outcome: 'timed_out', error: expect.stringContaining('1 s') as string })
    expect(again).toBe(0)
  })
})

describe('a holder', () => {
  it('that stops hands its run over at the checkpoint', async () => {
    const entry = entryOf()
    const begun = gate()
    const one = await rig.daemon(entry, async (task, signal) => {
      await task.save({ done: 4 })
      task.progress(4, 10, 'rows')
      begun.open()
      return untilAborted(signal)
    })
    await rig.ask(entry)
    await begun.passed
    const seen: unknown[] = []
    await rig.daemon(entry, (task) => {
      seen.push(task.checkpoint, task.id)
      return Promise.resolve(NOTHING)
    })
    await one.stop()
    expect(await rig.ended(entry, 1)).toMatchObject([{ id: '1', outcome: 'success' }])
    expect(seen).toEqual([{ done: 4 }, '1'])
  })

  it('that lost its lease can write nothing more', async () => {
    const entry = entryOf()
    const seen: unknown[] = []
    const [begun, taken] = [gate(), gate()]
    await rig.daemon(entry, async (task) => {
      seen.push(task.checkpoint)
      if (seen.length > 1) return { counts: { second: 1 }, notes: [] }
      begun.open()
      await taken.passed
      await task.save('mine').catch((error: unknown) => seen.push(faultOf(error)?.code))
      return { counts: { first: 1 }, notes: [] }
    })
    await rig.ask(entry)
    await begun.passed
    // As another daemon writes that takes the run over.
    await changeRecord(rig.state, 'tidy', (record) =>
      record?.running === undefined
        ? undefined
        : {
            ...record,
            running: { ...record.running, fence: record.running.fence + 1, checkpoint: 'theirs' },
          },
    )
    taken.open()
    expect(await rig.ended(entry, 1)).toMatchObject([{ id: '1', report: { counts: { second: 1 } } }])
    expect(seen).toEqual([undefined, 'LEASE_LOST', 'theirs'])
  })

  it('is not found by a run again and again that ends its process each time', async () => {
    const entry = entryOf()
    await changeRecord(rig.state, 'tidy', () => ({
      v: 1,
      runs: 1,
      timing: 'asked UTC',
      tickMs: 0,
      queue: [],
      running: {
        id: '1',
        by: 'ann',
        atMs: 0,
        dryRun: false,
        params: {},
        startedAtMs: rig.nowMs,
        fence: 1,
        holder: 'gone',
        tries: 5,
      },
    }))
    await rig.daemon(entry, () => Promise.resolve(NOTHING))
    expect(await rig.ended(entry, 1)).toMatchObject([
      { outcome: 'failure', error: expect.stringContaining('5 times') as string },
    ])
  })
})
