import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import type { JobFactory } from '../factory.ts'
import { reject, retry } from '../fault.ts'
import { EmbeddedState } from '../state/embedded.ts'
import { createLogger } from '../telemetry/logger.ts'
import { createMeter } from '../telemetry/prom-meter.ts'
import type { JobEntry } from './catalogue.ts'
import { JobDesk } from './desk.ts'
import type { Job, JobReport, Task } from './job.ts'
import { JobScheduler } from './scheduler.ts'
import { jobConfig, type Timing } from './timing.ts'

/** Daemons that share one real state store; a clock that the test sets. */

type Work = (task: Task, signal: AbortSignal) => Promise<JobReport>

const NOTHING: JobReport = { counts: {}, notes: [] }
const DEADLINE = () => AbortSignal.timeout(5000)
const log = createLogger({
  level: 'error',
  encoding: 'json',
  resource: {},
  destination: { write: () => undefined },
})
const START = Date.UTC(2026, 0, 5, 12)

let directory: string
let state: EmbeddedState
let nowMs = START
const stops: (() => Promise<void>)[] = []

beforeEach(async () => {
  nowMs = START
  directory = mkdtempSync(join(tmpdir(), 'weir-jobs-'))
  state = new EmbeddedState(directory)
  await state.open()
})

afterEach(async () => {
  await Promise.all(stops.splice(0).map((stop) => stop()))
  await state.close()
  rmSync(directory, { recursive: true, force: true })
})

function entryOf(config: object = {}, id = 'tidy', params: z.ZodType = z.strictObject({})): JobEntry {
  const schema = jobConfig({})
  const factory = {
    type: 'tidy',
    summary: '',
    config: schema,
    params,
    create: () => ({}) as Job,
  } as JobFactory
  const value = schema.parse(config) as Timing
  return { id, factory, config: value, key: `${id} ${JSON.stringify(config)}`, listed: true }
}

interface Node {
  readonly scheduler: JobScheduler
  readonly desk: JobDesk
  readonly meter: ReturnType<typeof createMeter>
  stop(): Promise<void>
}

async function daemon(entry: JobEntry, work: Work, holder?: string): Promise<Node> {
  const meter = createMeter()
  const clock = (): number => nowMs
  const scheduler = new JobScheduler({
    state,
    log,
    meter,
    clock,
    holder,
    pollMs: 20,
    leaseMs: 400,
    pauseMs: { minMs: 10, maxMs: 20 },
    create: () => ({ run: work }),
  })
  await scheduler.apply([entry], DEADLINE())
  let stopped: Promise<void> | undefined
  const stop = (): Promise<void> => (stopped ??= scheduler.stop(DEADLINE()))
  stops.push(stop)
  return { scheduler, meter, stop, desk: new JobDesk(state, [entry], clock) }
}

async function ended(desk: JobDesk, count: number) {
  await expect.poll(async () => (await endedOf(desk)).length).toBe(count)
  return endedOf(desk)
}

async function endedOf(desk: JobDesk) {
  const views = await desk.runs('tidy')
  return views.flatMap((view) => (view.status === 'ended' ? [view.run] : []))
}

describe('a run', () => {
  it('comes when asked, with its parameters, and is remembered', async () => {
    const entry = entryOf({}, 'tidy', z.strictObject({ tenant: z.string() }))
    const { desk } = await daemon(entry, async ({ params, by, dryRun }) => ({
      counts: { rows: 3 },
      notes: [`${(params as { tenant: string }).tenant} ${by} ${dryRun}`],
    }))
    const id = await desk.ask('tidy', { params: { tenant: 'acme' }, dryRun: true, by: 'ann' })
    const [run] = await ended(desk, 1)
    expect(run).toMatchObject({
      id,
      outcome: 'success',
      by: 'ann',
      report: { counts: { rows: 3 }, notes: ['acme ann true'] },
    })
    await expect(desk.ask('tidy', { params: {}, dryRun: false, by: 'ann' })).rejects.toMatchObject({
      code: 'REQUEST_INVALID',
      message: expect.stringContaining('tenant') as string,
    })
    await expect(desk.ask('other', { params: {}, dryRun: false, by: 'ann' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    })
  })

  it('that fails says why; one that may pass goes on from its checkpoint', async () => {
    const seen: unknown[] = []
    const { desk } = await daemon(entryOf(), async (task) => {
      seen.push(task.checkpoint)
      if (task.id === '1') throw reject('EXPORT_REJECTED', 'no such table')
      if (task.checkpoint === undefined) {
        await task.save({ at: 7 })
        throw retry('EXPORT_UNAVAILABLE', 'down')
      }
      return NOTHING
    })
    await desk.ask('tidy', { params: {}, dryRun: false, by: 'ann' })
    await desk.ask('tidy', { params: {}, dryRun: false, by: 'ann' })
    const [second, first] = await ended(desk, 2)
    expect(first).toMatchObject({ id: '1', outcome: 'failure', error: 'no such table' })
    expect(second).toMatchObject({ id: '2', outcome: 'success' })
    expect(seen).toEqual([undefined, undefined, { at: 7 }])
  })
})
