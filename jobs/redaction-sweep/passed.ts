import { firstBehind, type Feeders, type Heads } from '../../pipeline/jobs/feeders.ts'
import { stateKey, type StateKey, type StateStore } from '../../pipeline/state/state.ts'

/** What state knows of sweeps, JSON: `redaction-sweep.<job>.<exporter>`: by which rules all was looked at, and how often. */
interface Passed {
  readonly v: 1
  readonly rules: string
  readonly passes: number
  /** How far the logs were after the first pass: what came before may be of the old rules. */
  readonly heads?: Heads
}

/** What was taken in under the old rules may be stored after the first run behind the change: one behind it finds it. */
const PASSES = 2

const keyOf = (job: string, exporter: string): StateKey => stateKey('redaction-sweep', job, exporter)

export async function isDone(
  state: StateStore,
  job: string,
  exporter: string,
  rules: string,
): Promise<boolean> {
  const passed = await read(state, job, exporter)
  return passed?.rules === rules && passed.passes >= PASSES
}

/** The cursor that still has to bring what was taken in before the first pass: another one would not find it. */
export async function waitsFor(
  state: StateStore,
  job: string,
  exporter: string,
  rules: string,
  feeders: Feeders,
): Promise<string | undefined> {
  const passed = await read(state, job, exporter)
  return passed?.rules === rules ? firstBehind(state, feeders, passed.heads ?? {}) : undefined
}

/** Called by whoever holds the job's lease. */
export async function notePass(
  state: StateStore,
  job: string,
  exporter: string,
  rules: string,
  heads: Heads,
): Promise<void> {
  const before = await read(state, job, exporter)
  const passed: Passed =
    before?.rules === rules
      ? { ...before, passes: Math.min(before.passes + 1, PASSES) }
      : { v: 1, rules, passes: 1, heads }
  await state.put(keyOf(job, exporter), Buffer.from(JSON.stringify(passed)))
}

async function read(state: StateStore, job: string, exporter: string): Promise<Passed | undefined> {
  const entry = await state.get(keyOf(job, exporter))
  return entry === undefined ? undefined : (JSON.parse(Buffer.from(entry.value).toString()) as Passed)
}
