import { reject } from '../../pipeline/fault.ts'
import type { Host } from '../../pipeline/host.ts'
import type { CursorView } from '../../pipeline/wal/cursor-desk.ts'
import { ok, type Call, type Reply, type Route } from './route.ts'

/** Where the exporters are in the WAL. */
export function cursorRoutes(host: Host): readonly Route[] {
  const common = { role: 'admin', scope: 'daemon' } as const
  return [
    { ...common, method: 'GET', path: '/v1/cursors', audit: false, handle: (call) => list(host, call) },
    {
      ...common,
      method: 'DELETE',
      path: '/v1/cursors/{cursor}',
      audit: { action: 'cursor.remove' },
      handle: (call) => remove(host, call),
    },
  ]
}

async function list(host: Host, { signal }: Call): Promise<Reply> {
  const perLog = await Promise.all(
    host
      .cursorDesks()
      .map(async (desk) => (await desk.list(signal)).map((view) => shown(view, desk.connector))),
  )
  return ok({ cursors: perLog.flat() })
}

async function remove(host: Host, { params }: Call): Promise<Reply> {
  const cursor = params['cursor'] ?? ''
  for (const desk of host.cursorDesks()) {
    if (await desk.remove(cursor)) return ok({ removed: cursor, connector: desk.connector })
  }
  throw reject('NOT_FOUND', `there is no cursor ${cursor}`)
}

function shown({ record, lag, wanted, seenMs }: CursorView, connector: string) {
  const { cursor, position, ledger, frozen, updatedMs } = record
  return {
    cursor,
    connector,
    position,
    lag_spans: lag.spans,
    lag_bytes: lag.bytes,
    lag_seconds: Math.round(lag.seconds),
    in_config: wanted,
    last_seen: seenMs === 0 ? null : new Date(seenMs).toISOString(),
    moved: new Date(updatedMs).toISOString(),
    /** Failed tries of the range under way. */
    attempts: frozen?.attempt ?? 0,
    ledger,
  }
}
