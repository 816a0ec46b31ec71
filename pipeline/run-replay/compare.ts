import { canonical } from '../runs/canonical.ts'
import type { Answer } from './cache-record.ts'
import { firstDifference, textDistance, type Difference } from './difference.ts'
import type { Rung } from './ladder.ts'
import { essential } from './request.ts'
import { saidOf, type Said } from './said.ts'

/** How far an answer agrees with the recorded one. */
export interface Agreement {
  readonly rung: Rung
  readonly field?: string
  readonly recorded?: unknown
  readonly replayed?: unknown
}

interface Call {
  readonly name: string
  readonly args: unknown
}

/** Texts that share most of their words say much the same. */
const MINOR_TEXT = 0.3

/** Of the same source: two records of one answer are equal, or they differ. */
export function sameAnswer(recorded: Answer, replayed: Answer): Agreement {
  const [a, b] = [factsOf(recorded), factsOf(replayed)]
  const difference = firstDifference(a, b)
  if (difference === undefined) return { rung: 'exact' }
  const isClose = a.status === b.status && textDistance(canonical(a.value), canonical(b.value)) <= MINOR_TEXT
  return {
    rung: isClose ? 'minor' : 'major',
    field: difference.path,
    recorded: difference.a,
    replayed: difference.b,
  }
}

/** Ids of calls and messages differ from run to run and mean nothing; whether it failed does. */
function factsOf({ status, value }: Answer): { readonly status: string; readonly value: unknown } {
  return { status: status === 'error' ? 'error' : 'ok', value: essential(value) ?? null }
}

/**
 * Of a model that was asked again. `exact`: the same words and calls. `minor`: the same calls of tools, and where there
 * are none, much the same words. `major`: anything else. `expected`: calls that the run made after it, where the record
 * of the answer itself holds none.
 */
export function modelAnswer(recorded: unknown, replayed: unknown, expected: readonly Call[]): Agreement {
  const [mine, other] = [saidOf(recorded), saidOf(replayed)]
  const wanted = mine.toolCalls.length === 0 && other.toolCalls.length > 0 ? expected : callsOf(mine)
  const calls = callDifference(wanted, callsOf(other))
  if (calls !== undefined) {
    return { rung: 'major', field: calls.path, recorded: calls.a, replayed: calls.b }
  }
  if (words(mine.text) === words(other.text)) return { rung: 'exact' }
  const isClose = wanted.length > 0 || textDistance(mine.text, other.text) <= MINOR_TEXT
  return { rung: isClose ? 'minor' : 'major', field: 'text', recorded: mine.text, replayed: other.text }
}

/** Which tools are called says more than what they are given. */
function callDifference(a: readonly Call[], b: readonly Call[]): Difference | undefined {
  const names = (calls: readonly Call[]): readonly object[] => calls.map(({ name }) => ({ name }))
  return firstDifference(names(a), names(b), 'tool_calls') ?? firstDifference(a, b, 'tool_calls')
}

function callsOf({ toolCalls }: Said): readonly Call[] {
  return toolCalls.map(({ name, args }) => ({ name, args }))
}

function words(text: string): string {
  return text.trim().replace(/\s+/g, ' ')
}
