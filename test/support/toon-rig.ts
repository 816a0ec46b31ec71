import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import type { Admitted, Entry } from '../../pipeline/admission.ts'
import type { Batch } from '../../pipeline/batch/batch.ts'
import { keyId } from '../../pipeline/batch/keys.ts'
import { ACCEPTED, type Outcome } from '../../pipeline/consumer.ts'
import { EmbeddedState } from '../../pipeline/state/embedded.ts'
import type { StateStore } from '../../pipeline/state/state.ts'
import { observeReceiver } from '../../pipeline/telemetry/observe.ts'
import type { PromMeter } from '../../pipeline/telemetry/prom-meter.ts'
import { toon } from '../../receivers/toon/factory.ts'
import type { ToonReceiver } from '../../receivers/toon/toon.ts'
import { receiverContext, TestEntry } from '../contract/receiver.ts'

const toonMaker = await toon.load()

/** An LMDB store of its own for one test. */
export async function openState(): Promise<StateStore> {
  const directory = mkdtempSync(join(tmpdir(), 'weir-toon-'))
  const state = new EmbeddedState(directory)
  await state.open()
  onTestFinished(async () => {
    await state.close()
    rmSync(directory, { recursive: true, force: true })
  })
  return state
}

export interface Answered {
  readonly status: number
  readonly text: string
  readonly json: Record<string, unknown>
  readonly headers: Headers
}

export interface ToonRig {
  readonly url: string
  readonly batches: Batch[]
  ask(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answered>
  stop(): Promise<void>
}

export interface ToonRigOptions {
  readonly config?: Record<string, unknown>
  readonly state?: StateStore
  readonly consume?: (batch: Batch) => Promise<Outcome>
  readonly lookback?: Entry['lookback']
  readonly admitted?: Partial<Admitted>
  readonly clock?: () => number
  /** Counts as the daemon does. */
  readonly meter?: PromMeter
}

/** A started toon receiver over real HTTP and real state; the pipeline is the test's. */
export async function toonRig(options: ToonRigOptions = {}): Promise<ToonRig> {
  const batches: Batch[] = []
  const entry = new TestEntry(async (batch) => {
    const outcome = (await options.consume?.(batch)) ?? ACCEPTED
    batches.push(batch)
    return outcome
  })
  const next: Entry = {
    consume: (batch, signal) => entry.consume(batch, signal),
    admit: async () => ({ ...(await entry.admit()), ...options.admitted }),
    lookback: options.lookback,
  }
  const { context, listeners } = receiverContext('toon', { state: options.state ?? (await openState()) })
  const config = toon.config.parse({ endpoint: '127.0.0.1:0', ...options.config })
  const receiver = toonMaker.create(
    config,
    { ...context, clock: options.clock ?? Date.now },
    options.meter === undefined ? next : observeReceiver(next, 'toon', options.meter),
  ) as ToonReceiver
  await receiver.start()
  let stopped: Promise<void> | undefined
  const stop = () =>
    (stopped ??= (async () => {
      await receiver.stop(AbortSignal.timeout(5000))
      await listeners.close()
    })())
  onTestFinished(stop)
  const url = `http://${receiver.address}`
  return { url, batches, stop, ask: (...args) => ask(url, ...args) }
}

async function ask(
  url: string,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Answered> {
  const isRaw = typeof body === 'string' || body instanceof Uint8Array
  const response = await fetch(`${url}${path}`, {
    method,
    headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
    ...(body !== undefined && { body: (isRaw ? body : JSON.stringify(body)) as string }),
  })
  const text = await response.text()
  const isJson = /json/.test(response.headers.get('content-type') ?? '')
  return { status: response.status, text, json: isJson ? JSON.parse(text) : {}, headers: response.headers }
}

/** An attribute of a row as text. */
export function attribute(batch: Batch, row: number, key: string): string | undefined {
  const ref = batch.attr(row, keyId(key))
  return ref < 0 ? undefined : batch.text(ref)
}

export const T = '2026-03-01T10:00:00Z'

export function reasoning(thought: string, rest: object = {}): Record<string, unknown> {
  return { t: T, actor: 'agent', type: 'reasoning', payload: { thought }, ...rest }
}
