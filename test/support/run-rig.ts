import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { config } from '../../exporters/clickhouse/config.ts'
import { clickhouse } from '../../exporters/clickhouse/factory.ts'
import { checkEvents } from '../../pipeline/agent/check.ts'
import { runIdOf } from '../../pipeline/agent/ids.ts'
import { pair } from '../../pipeline/agent/number.ts'
import { endSpans, eventSpans } from '../../pipeline/agent/spans.ts'
import type { Batch, BatchMeta } from '../../pipeline/batch/batch.ts'
import { decodeBatch } from '../../pipeline/batch/otlp-batch.ts'
import type { Processor } from '../../pipeline/component.ts'
import type { Ask } from '../../pipeline/runs/load.ts'
import { exporterContext } from '../contract/exporter.ts'

const clickhouseMaker = await clickhouse.load()

const NEVER = new AbortController().signal

/** An embedded ClickHouse with runs in it. */
export interface RunRig {
  readonly ask: Ask
  store(batch: Batch): Promise<void>
  /** A toon run, numbered from 1 and ended; its id. */
  toon(id: string, events: readonly object[], end?: ToonEnd): Promise<string>
  close(): Promise<void>
}

interface ToonEnd {
  readonly tenant?: string
  /** Undefined: it goes on. */
  readonly status?: 'completed' | 'failed' | undefined
  readonly processors?: readonly Pick<Processor, 'process'>[]
}

export async function runRig(): Promise<RunRig> {
  const directory = mkdtempSync(join(tmpdir(), 'weir-runs-'))
  const exporter = clickhouseMaker.create(config.parse({ directory }), exporterContext('clickhouse'))
  await exporter.start?.()
  const store = async (batch: Batch) => void (await exporter.consume(batch, NEVER))
  return {
    ask: (request, signal) => exporter.queryable!.query(request, signal),
    store,
    async toon(id, events, { tenant = 'default', processors = [], ...end } = {}) {
      const status = 'status' in end ? end.status : 'completed'
      for (const batch of toonBatches(id, events, tenant, status)) {
        for (const each of processors) await each.process(batch)
        await store(batch)
      }
      return id
    },
    async close() {
      await exporter.stop?.(NEVER)
      rmSync(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
    },
  }
}

/** As the toon receiver makes them. */
export function* toonBatches(
  id: string,
  values: readonly object[],
  tenant: string,
  status: 'completed' | 'failed' | undefined,
): Iterable<Batch> {
  const run = runIdOf(tenant, id)
  const labels = { agentId: 'planner' }
  const checked = checkEvents(values).map((event, index) => ({ ...event, seq: index + 1 }))
  const { events, open } = pair(checked, [])
  yield decodeBatch(eventSpans([{ run, labels, events }]), metaOf(tenant))
  if (status === undefined) return
  const times = { startNs: events[0]!.atNs, endNs: events.at(-1)!.atNs }
  yield decodeBatch(endSpans({ run, labels, status, ...times, attributes: [], open }), metaOf(tenant))
}

function metaOf(tenant: string): BatchMeta {
  return {
    signal: 'traces',
    tenant,
    project: '',
    principal: '',
    source: 'test',
    receivedAtMs: Date.parse('2026-08-01T12:00:00Z'),
    digest: new Uint8Array(16),
  }
}

/** Toon events, one second apart. */
export class Script {
  readonly events: object[] = []

  add(actor: string, type: string, payload: object, meta?: object): this {
    const t = new Date(Date.parse('2026-03-01T10:00:00Z') + this.events.length * 1000).toISOString()
    this.events.push({ t, actor, type, payload, ...(meta && { meta }) })
    return this
  }

  tool(action: string, params: unknown, result: unknown, rest: object = {}): this {
    return this.add('agent', 'action_request', { action, params }).add('tool', 'action_response', {
      status: 'success',
      result,
      latency_ms: 20,
      ...rest,
    })
  }

  llm(messages: unknown, thought: string, model = 'gpt-4o'): this {
    const usage = { input_tokens: 100, output_tokens: 10 }
    return this.add('agent', 'reasoning', { messages, thought }, { model, provider: 'openai', usage })
  }

  output(output: unknown): this {
    return this.add('agent', 'final_output', { output })
  }
}
