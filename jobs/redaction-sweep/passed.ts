import { stateKey, type StateKey, type StateStore } from '../../pipeline/state/state.ts'

/** What state knows of sweeps, JSON: `redaction-sweep.<job>.<exporter>`: by which rules all was looked at, and how often. */
interface Passed {
  readonly v: 1
  readonly rules: string
  readonly passes: number
}

/** What was taken in under the old rules may be stored after the first run behind the change: the next one finds it. */
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

/** Called by whoever holds the job's lease. */
export async function notePass(
  state: StateStore,
  job: string,
  exporter: string,
  rules: string,
): Promise<void> {
  const before = await read(state, job, exporter)
  const passes = before?.rules === rules ? Math.min(before.passes + 1, PASSES) : 1
  const passed: Passed = { v: 1, rules, passes }
  await state.put(keyOf(job, exporter), Buffer.from(JSON.stringify(passed)))
}

async function read(state: StateStore, job: string, exporter: string): Promise<Passed | undefined> {
  const entry = await state.get(keyOf(job, exporter))
  return entry === undefined ? undefined : (JSON.parse(Buffer.from(entry.value).toString()) as Passed)
}
