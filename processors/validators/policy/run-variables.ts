import type { Run } from '../validator.ts'

type Value = string | number | bigint | readonly string[] | ReadonlyMap<string, bigint>

const MOST_ACTIONS = 1000

/** The fields of `run`, by the names that `expression.ts` lists. */
export function runVariables({ agent, status, spans }: Run): ReadonlyMap<string, Value> {
  const steps = new Map<string, bigint>()
  const actions: string[] = []
  let [start, end, errors] = [Infinity, 0, 0]
  for (const { step, action, startMs, endMs, statusCode } of spans) {
    if (step !== '') steps.set(step, (steps.get(step) ?? 0n) + 1n)
    if (action !== '' && step !== 'action_request' && actions.length < MOST_ACTIONS) actions.push(action)
    start = Math.min(start, startMs)
    end = Math.max(end, endMs)
    if (statusCode === 2) errors++
  }
  return new Map<string, Value>([
    ['agent', agent],
    ['status', status],
    ['spans', BigInt(spans.length)],
    ['errors', BigInt(errors)],
    ['duration_ms', Math.max(0, end - start)],
    ['steps', steps],
    ['actions', actions],
  ])
}
