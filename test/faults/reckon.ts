import { pino } from 'pino'
import { expect } from 'vitest'
import { createStateStore, stateSchema, type StateConfig } from '../../pipeline/state/create.ts'
import type { CursorRecord } from '../../pipeline/wal/cursor-record.ts'
import { listCursors } from '../../pipeline/wal/cursor-store.ts'
import { imbalance, type Ledger } from '../../pipeline/wal/ledger.ts'
import type { Daemon } from '../support/daemon.ts'
import { until } from '../support/until.ts'
import { traceId, type LedgerSender } from '../support/ledger-sender.ts'

/** The oracle: what was acknowledged against what is stored, span by span, and against the durable ledger. */

const NO_LOG = pino({ level: 'silent' })

export interface Reckoning {
  readonly ackedSpans: number
  readonly rows: number
  /** Acknowledged spans that are not stored. */
  readonly lost: number
  /** Rows beyond the first of a (TraceId, SpanId). */
  readonly doubled: number
  /** From the last acknowledgement to the last row. */
  readonly drainMs: number
}

/** Longer than a lease, an attempt that hangs, and their repeats on a busy machine. Only a loss waits so long. */
const STILL_MS = 150_000

type Ask = (sql: string) => Promise<readonly (readonly unknown[])[]>

interface Reckon {
  readonly from?: string
  /** Acknowledged spans that a fault has destroyed. */
  readonly lost?: number
}

/** Waits until the table holds as many rows as were acknowledged, or stands still, and compares span by span. */
export async function reckon(ask: Ask, sender: LedgerSender, options: Reckon = {}): Promise<Reckoning> {
  const { from = 'otel_traces', lost: destroyed = 0 } = options
  const begun = performance.now()
  const ackedSpans = sender.acked.size * sender.spansPerRequest
  let rows = -1
  for (let grewMs = begun; rows < ackedSpans - destroyed && performance.now() - grewMs < STILL_MS;) {
    const [[count] = []] = await ask(`SELECT count() FROM ${from}`)
    if (Number(count) > rows) grewMs = performance.now()
    rows = Math.max(rows, Number(count))
  }
  const drainMs = Math.round(performance.now() - begun)
  const stored = await storedTraces(ask, from)
  let lost = 0
  for (const request of sender.acked) {
    lost += sender.spansPerRequest - (stored.get(traceId(request))?.different ?? 0)
  }
  let doubled = 0
  let total = 0
  for (const { count, different } of stored.values()) {
    doubled += count - different
    total += count
  }
  return { ackedSpans, rows: total, lost, doubled, drainMs }
}

/** By pages: the API bounds the rows of an answer. */
async function storedTraces(
  ask: Ask,
  from: string,
): Promise<Map<string, { count: number; different: number }>> {
  const stored = new Map<string, { count: number; different: number }>()
  for (let last = ''; ;) {
    const page = await ask(
      `SELECT TraceId, count(), uniqExact(SpanId) FROM ${from} WHERE TraceId > '${last}' GROUP BY TraceId ORDER BY TraceId LIMIT 5000`,
    )
    for (const [id, count, different] of page) {
      stored.set(String(id), { count: Number(count), different: Number(different) })
    }
    if (page.length < 5000) return stored
    last = String(page.at(-1)?.[0])
  }
}

export function expectExact({ ackedSpans, rows, lost, doubled }: Reckoning): void {
  expect({ lost, doubled, rows }).toEqual({ lost: 0, doubled: 0, rows: ackedSpans })
}

/** The gauge of the running daemon: set at each advance of its store process, so `sent` shows that it was. */
export async function expectBalance(daemon: Daemon): Promise<void> {
  const sum = async (name: string): Promise<number> => (await daemon.metrics()).sum(name)
  // Not `expect.poll`: it knows its test only while no other runs beside it.
  await until(async () => (await sum('otelcol_exporter_sent_spans')) > 0)
  expect(await sum('weir_accounting_imbalance_spans')).toBe(0)
}

/** The state of a daemon by `daemonConfig`. */
export function stateOf(daemon: Daemon, natsUrl: string | undefined): StateConfig {
  return stateSchema.parse(
    natsUrl === undefined
      ? { driver: 'embedded', directory: `${daemon.directory}/state` }
      : { driver: 'jetstream', servers: [natsUrl] },
  )
}

/** The range that the cursor of `exporter` has frozen: under delivery, or to be repeated. */
export async function frozenRange(config: StateConfig, exporter = 'clickhouse'): Promise<unknown> {
  return (await cursorRecord(config, exporter)).frozen
}

/** The durable ledger of a daemon that has stopped, or of one whose state can be shared. */
export async function expectLedger(
  config: StateConfig,
  rows: number,
  exporter = 'clickhouse',
): Promise<Ledger> {
  const { ledger } = await cursorRecord(config, exporter)
  expect(imbalance(ledger)).toBe(0)
  expect(ledger.stored).toBe(rows)
  return ledger
}

async function cursorRecord(config: StateConfig, exporter: string): Promise<CursorRecord> {
  const state = await createStateStore(config, NO_LOG)
  await state.open()
  try {
    const cursors = (await listCursors(state, 'wal')).filter(({ record }) => record.cursor.endsWith(exporter))
    const [cursor, ...others] = cursors
    if (cursor === undefined || others.length > 0) throw new Error(`one cursor of ${exporter} was expected`)
    return cursor.record
  } finally {
    await state.close()
  }
}
