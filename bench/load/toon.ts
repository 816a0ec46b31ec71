import { Agent, request as httpRequest } from 'node:http'
import type { Payload } from './payloads.ts'
import type { LoadPlan } from './plan.ts'
import { GRPC_PREFIX, httpAnswer, type Transport } from './transport.ts'

const TYPES = ['reasoning', 'action_request', 'action_response'] as const

/** Batches of agent events of about 400 bytes of JSON each, in the place of a framed request. */
export function toonPayloads(eventsPerBatch: number, count: number): Payload[] {
  return Array.from({ length: count }, (_, seed) => {
    const events = Array.from({ length: eventsPerBatch }, (_, at) => event(seed, at))
    const framed = Buffer.concat([Buffer.alloc(GRPC_PREFIX), Buffer.from(JSON.stringify(events))])
    return { distinct: () => framed }
  })
}

function event(seed: number, at: number): object {
  const type = TYPES[at % TYPES.length]
  const text = `step ${seed}/${at}: `.padEnd(200, 'the policy says that a refund needs the order number ')
  const payload =
    type === 'reasoning'
      ? { thought: text, goal: 'answer the customer', steps: ['look up', 'decide'] }
      : type === 'action_request'
        ? { action: 'lookup_order', params: { order: seed, note: text }, rationale: 'needed' }
        : { status: 'success', result: { rows: [1, 2, 3], note: text }, latency_ms: 120 }
  const t = new Date(1_780_272_000_000 + at * 1000).toISOString()
  return {
    t,
    actor: type === 'action_response' ? 'tool' : 'agent',
    type,
    payload,
    meta: { agent_id: 'bench' },
  }
}

/** A run per slot; every batch under a key of its own. */
export function toonTransport(plan: LoadPlan): Transport {
  const agent = new Agent({ keepAlive: true, maxSockets: plan.connections })
  const [host, port] = plan.endpoint.split(':')
  const begun = new Map<number, Promise<unknown>>()
  let sent = 0
  const post = (path: string, body: Uint8Array) =>
    new Promise<{ kind: 'ok' | 'refused' | 'failed'; detail: string }>((resolve) => {
      const headers = {
        'content-type': 'application/json',
        'content-length': body.length,
        'idempotency-key': `${process.pid}/${sent++}`,
      }
      const call = httpRequest({ host, port, agent, method: 'POST', path, headers }, (response) => {
        response.resume()
        response.on('end', () => resolve(httpAnswer(response.statusCode ?? 0)))
      })
      call.on('error', (error) => resolve({ kind: 'failed', detail: error.message }))
      call.end(body)
    })
  return {
    async send(slot, framed) {
      const run = `bench-${process.pid}-${slot}`
      const start =
        begun.get(slot) ?? post('/v1/runs', Buffer.from(JSON.stringify({ run_id: run, agent_id: 'bench' })))
      begun.set(slot, start)
      await start
      return post(`/v1/runs/${run}/events`, framed.subarray(GRPC_PREFIX))
    },
    close: () => agent.destroy(),
  }
}
