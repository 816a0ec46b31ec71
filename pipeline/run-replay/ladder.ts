import { canonical } from '../runs/canonical.ts'
import { distance, firstDifference, type Difference } from './difference.ts'
import { essenceOf, type CallRequest } from './request.ts'

/** How far a request agrees with a recorded one. */
export type Rung = 'exact' | 'minor' | 'major' | 'missed'

export interface Match {
  readonly rung: Rung
  /** Place of the nearest recorded request; −1: there is none of its kind. */
  readonly at: number
  /** The first field that differs from it, and its two values. */
  readonly field?: string
  readonly asked?: unknown
  readonly recorded?: unknown
}

/** Model requests of as many messages that differ by so little are the same question in other words. */
const MINOR_REQUEST = 0.2
/** Calls of one tool with the same arguments, by name, and values that are half alike. */
const MINOR_ARGS = 0.5

/**
 * The rungs, from the top: `exact`: equal in all that matters. `minor`: as many messages and little else, or the same
 * tool with arguments of the same names that are much alike. `major`: another history that ends in the same message,
 * or the same tool with other arguments. `missed`: none of these. Of several on a rung the nearest, then the first.
 */
export function nearest(request: CallRequest, recorded: readonly CallRequest[]): Match {
  const asked = essenceOf(request)
  const exact = canonical(asked)
  let best: { rung: Rung; at: number; distance: number } = { rung: 'missed', at: -1, distance: Infinity }
  for (const [at, other] of recorded.entries()) {
    if (other.kind !== request.kind) continue
    const essence = essenceOf(other)
    if (canonical(essence) === exact) return { rung: 'exact', at }
    const away = distance(asked, essence)
    const rung = rungOf(asked as Essence, essence as Essence, away)
    const order = RUNGS.indexOf(rung) - RUNGS.indexOf(best.rung)
    if (best.at < 0 || order < 0 || (order === 0 && away < best.distance)) best = { rung, at, distance: away }
  }
  const near = recorded[best.at]
  const difference = near === undefined ? undefined : differenceOf(request, near)
  return {
    rung: best.rung,
    at: best.at,
    ...(difference !== undefined && {
      field: difference.path,
      asked: difference.a,
      recorded: difference.b,
    }),
  }
}

/** Which tool was called says more than what it was given. */
function differenceOf(request: CallRequest, near: CallRequest): Difference | undefined {
  if (request.kind === 'tool' && near.kind === 'tool' && request.tool !== near.tool) {
    return { path: 'tool', a: request.tool, b: near.tool }
  }
  return firstDifference(essenceOf(request), essenceOf(near))
}

const RUNGS: readonly Rung[] = ['exact', 'minor', 'major', 'missed']

interface Essence {
  readonly kind: CallRequest['kind']
  readonly tool?: string
  readonly args?: unknown
  readonly messages?: unknown
}

function rungOf(a: Essence, b: Essence, away: number): Rung {
  if (a.kind === 'tool') {
    if (a.tool !== b.tool) return 'missed'
    return canonical(namesOf(a.args)) === canonical(namesOf(b.args)) && distance(a.args, b.args) <= MINOR_ARGS
      ? 'minor'
      : 'major'
  }
  const [mine, other] = [turnsOf(a.messages), turnsOf(b.messages)]
  if (mine.length === other.length && away <= MINOR_REQUEST) return 'minor'
  const isSameEnd = mine.length > 0 && canonical(mine.at(-1)) === canonical(other.at(-1))
  return isSameEnd ? 'major' : 'missed'
}

function namesOf(args: unknown): readonly string[] {
  return typeof args === 'object' && args !== null ? Object.keys(args).sort() : []
}

function turnsOf(messages: unknown): readonly unknown[] {
  if (Array.isArray(messages)) return messages
  return messages === undefined ? [] : [messages]
}
