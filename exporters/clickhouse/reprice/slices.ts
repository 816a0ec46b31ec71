import type { Reader } from '../connection.ts'
import type { Target } from '../target.ts'
import { callParams, fromCalls, type Slice } from './calls.ts'

/** Calls in memory at a time: about 30 MB while they are JSON. */
const MAX_CALLS = 50_000
const DAY_MS = 86_400_000
const SECOND_MS = 1000

export interface Scope {
  readonly reader: Reader
  readonly target: Target
  readonly fromMs: number
  readonly toMs: number
  readonly tenant: string | undefined
  readonly signal: AbortSignal
}

/** All model calls of the scope in order of time, in slices that fit into memory; days without calls cost nothing. */
export async function* slices(scope: Scope): AsyncGenerator<Slice> {
  for (const day of await daysOf(scope)) {
    const fromMs = Math.max(scope.fromMs, day * DAY_MS)
    const toMs = Math.min(scope.toMs, (day + 1) * DAY_MS)
    yield* cut(await secondsOf(scope, fromMs, toMs), fromMs, toMs)
  }
}

async function daysOf(scope: Scope): Promise<readonly number[]> {
  const { reader, target, fromMs, toMs, tenant, signal } = scope
  const { data } = await reader.rows(
    `SELECT DISTINCT intDiv(toUnixTimestamp64Milli(Timestamp), ${DAY_MS}) AS Day ${fromCalls(target, tenant)} ORDER BY Day`,
    callParams(fromMs, toMs, tenant),
    signal,
  )
  return data.map(([day]) => Number(day))
}

/** [second, calls] of a day, in order. */
async function secondsOf(scope: Scope, fromMs: number, toMs: number): Promise<readonly [number, number][]> {
  const { reader, target, tenant, signal } = scope
  const { data } = await reader.rows(
    `SELECT intDiv(toUnixTimestamp64Milli(Timestamp), ${SECOND_MS}) AS Second, count() ${fromCalls(target, tenant)} GROUP BY Second ORDER BY Second`,
    callParams(fromMs, toMs, tenant),
    signal,
  )
  return data.map(([second, calls]) => [Number(second), Number(calls)])
}

/** A cut lies between two seconds; a second that is too full by itself is read in parts. */
export function* cut(
  seconds: readonly (readonly [second: number, calls: number])[],
  fromMs: number,
  toMs: number,
): Generator<Slice> {
  let startMs = fromMs
  let calls = 0
  for (const [index, [, count]] of seconds.entries()) {
    calls += count
    const next = seconds[index + 1]
    if (next !== undefined && calls + next[1] <= MAX_CALLS) continue
    const endMs = next === undefined ? toMs : next[0] * SECOND_MS
    const parts = Math.ceil(calls / MAX_CALLS)
    for (let part = 0; part < parts; part++) yield { fromMs: startMs, toMs: endMs, parts, part }
    startMs = endMs
    calls = 0
  }
}
