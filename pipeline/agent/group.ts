import type { CheckedEvent } from './check.ts'
import type { RunGroup } from './append.ts'
import { EventFault, type EventError } from './event-fault.ts'
import { runIdOf, type RunId } from './ids.ts'

/**
 * The events of a request by run, each run's in order; of several with one `meta.idempotency_key` the first. `run` is
 * what the request itself names: then `meta.run_id` may be absent, and must not differ. Throws EventFault.
 */
export function groupByRun(tenant: string, events: readonly CheckedEvent[], run?: RunId): RunGroup[] {
  const errors: EventError[] = []
  const groups = new Map<string, Draft>()
  const ids = new Map<string, RunId>()
  for (const [index, event] of events.entries()) {
    const id = event.event.meta?.run_id
    const own = id === undefined ? run : known(ids, tenant, id)
    if (own === undefined) errors.push({ index, field: 'meta.run_id', message: 'must name the run' })
    else if (run !== undefined && own.trace !== run.trace) {
      errors.push({ index, field: 'meta.run_id', message: `is not the run of the request, ${run.id}` })
    } else add(groups, run ?? own, event, index)
  }
  if (errors.length > 0)
    throw new EventFault('EVENT_INVALID', errors.slice(0, 20), Math.max(0, errors.length - 20))
  return [...groups.values()]
}

interface Draft extends RunGroup {
  readonly events: CheckedEvent[]
  readonly indexes: number[]
  readonly keys: Set<string>
  duplicates: number
}

function known(ids: Map<string, RunId>, tenant: string, id: string): RunId {
  const found = ids.get(id) ?? runIdOf(tenant, id)
  ids.set(id, found)
  return found
}

function add(groups: Map<string, Draft>, run: RunId, event: CheckedEvent, index: number): void {
  let draft = groups.get(run.trace)
  if (draft === undefined) {
    draft = { run, events: [], indexes: [], keys: new Set(), duplicates: 0 }
    groups.set(run.trace, draft)
  }
  const key = event.event.meta?.idempotency_key
  if (key !== undefined && draft.keys.has(key)) {
    draft.duplicates++
    return
  }
  if (key !== undefined) draft.keys.add(key)
  draft.events.push(event)
  draft.indexes.push(index)
}
