import { retry } from '../pipeline/fault.ts'

/** What a sender of agent events does, without any SDK: start a run, send its steps, finish it. */
export interface ToonResult {
  readonly runId: string
  /** The root span included. */
  readonly spans: number
}

/** `url` is the toon receiver's. Times are laid before `nowMs`. */
export async function runToonAgent(url: string, nowMs: number): Promise<ToonResult> {
  const started = await post(`${url}/v1/runs`, {
    agent_id: 'refund-agent',
    agent_version: '1.4.0',
    user_id: 'user-17',
    metadata: { channel: 'chat' },
  })
  const runId = String(started['run_id'])
  const events = stepsBefore(nowMs)
  await post(`${url}/v1/runs/${runId}/events`, events, { 'idempotency-key': 'demo-1' })
  await post(`${url}/v1/runs/${runId}/finish`, { status: 'completed' })
  return { runId, spans: events.length + 1 }
}

function stepsBefore(nowMs: number): object[] {
  const at = (ms: number) => ({ t: new Date(nowMs - 10_000 + ms).toISOString() })
  return [
    {
      ...at(0),
      actor: 'agent',
      type: 'reasoning',
      payload: { thought: 'The order decides whether a refund is due.', goal: 'settle the refund' },
      meta: { provider: 'openai', model: 'gpt-4o-mini', usage: { input_tokens: 640, output_tokens: 52 } },
    },
    {
      ...at(900),
      actor: 'agent',
      type: 'action_request',
      payload: { action: 'find_order', params: { order: 4711 } },
    },
    {
      ...at(1320),
      actor: 'tool',
      type: 'action_response',
      payload: { status: 'success', result: { state: 'returned' }, latency_ms: 420 },
    },
    {
      ...at(1400),
      actor: 'agent',
      type: 'action_request',
      payload: { action: 'pay_back', params: { order: 4711 } },
    },
    {
      ...at(6400),
      actor: 'tool',
      type: 'action_response',
      payload: { status: 'timeout', error: 'the bank did not answer', latency_ms: 5000 },
    },
    {
      ...at(7100),
      actor: 'agent',
      type: 'final_output',
      payload: { output: 'The refund is approved and will be paid by tomorrow.', confidence: 0.8 },
    },
  ]
}

async function post(
  url: string,
  body: object,
  headers: Record<string, string> = {},
): Promise<Record<string, unknown>> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(10_000),
  })
  const answer = (await response.json()) as Record<string, unknown>
  if (response.ok) return answer
  throw retry('START_FAILED', `the daemon answered ${response.status}: ${String(answer['detail'])}`)
}
