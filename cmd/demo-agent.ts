import {
  context,
  SpanStatusCode,
  trace,
  type Attributes,
  type Context,
  type Tracer,
} from '@opentelemetry/api'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-grpc'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base'

/**
 * The demo's agent program: a support desk whose runs are traced with the real OpenTelemetry SDK and the GenAI
 * conventions, and exported by OTLP gRPC like any application's. Times are laid into the last hour instead of waited for.
 */
export interface AgentResult {
  readonly spans: number
  /** Hex id of the run worth looking at: it has a tool error, a retry and a slow call. */
  readonly traceId: string
}

interface Call {
  readonly provider: string
  readonly model: string
  readonly operation?: 'chat' | 'embeddings'
  readonly input: number
  readonly cached?: number
  readonly output: number
  readonly reasoning?: number
  readonly ms: number
  readonly error?: string
}

interface Tool {
  readonly tool: string
  readonly ms: number
  readonly error?: string
}

interface Run {
  readonly agent: string
  readonly user: string
  readonly steps: readonly (Call | Tool)[]
}

const TRIAGE: Call = { provider: 'openai', model: 'gpt-4o-mini', input: 812, output: 46, ms: 640 }
const EMBED: Call = {
  provider: 'openai',
  model: 'text-embedding-3-small',
  operation: 'embeddings',
  input: 96,
  output: 0,
  ms: 120,
}
const SEARCH: Tool = { tool: 'search_tickets', ms: 85 }
const ANSWER: Call = {
  provider: 'anthropic',
  model: 'claude-sonnet-4-5',
  input: 14_200,
  cached: 12_800,
  output: 610,
  ms: 4300,
}

const RUNS: readonly Run[] = [
  { agent: 'support-triage', user: 'ada', steps: [TRIAGE, EMBED, SEARCH, ANSWER] },
  {
    agent: 'support-triage',
    user: 'grace',
    steps: [TRIAGE, EMBED, SEARCH, { ...ANSWER, input: 15_900, cached: 12_800, output: 890, ms: 5200 }],
  },
  {
    agent: 'refund-agent',
    user: 'ada',
    steps: [
      {
        provider: 'openai',
        model: 'gpt-5',
        input: 10_000,
        cached: 4000,
        output: 3000,
        reasoning: 2500,
        ms: 21_800,
      },
      { tool: 'issue_refund', ms: 3000, error: 'payment gateway timed out' },
      { tool: 'issue_refund', ms: 410 },
      { provider: 'openai', model: 'gpt-4o', input: 2006, cached: 1920, output: 300, ms: 2100 },
    ],
  },
  {
    agent: 'researcher',
    user: 'alan',
    steps: [
      {
        provider: 'gcp.gemini',
        model: 'gemini-2.5-pro',
        input: 150_000,
        cached: 100_000,
        output: 1000,
        ms: 9400,
      },
      { tool: 'web_search', ms: 1350 },
      { provider: 'gcp.gemini', model: 'gemini-2.5-flash', input: 5000, output: 400, ms: 1500 },
      {
        provider: 'anthropic',
        model: 'claude-sonnet-4-5',
        input: 0,
        output: 0,
        ms: 300,
        error: 'rate_limit_error',
      },
      { provider: 'in-house', model: 'our-finetune-7', input: 900, output: 200, ms: 700 },
    ],
  },
]

const HOUR_MS = 3_600_000
const RUN_ROUNDS = 6

/** Sends `RUN_ROUNDS` rounds of the runs to `endpoint` (`host:port`, no TLS) and resolves when all is acknowledged. */
export async function runDemoAgent(endpoint: string, nowMs: number): Promise<AgentResult> {
  const exporter = new OTLPTraceExporter({ url: `http://${endpoint}` })
  const provider = new BasicTracerProvider({
    resource: resourceFromAttributes({
      'service.name': 'support-desk',
      'deployment.environment.name': 'demo',
    }),
    spanProcessors: [new BatchSpanProcessor(exporter)],
  })
  const tracer = provider.getTracer('weir-demo', '1.0.0')
  let spans = 0
  let traceId = ''
  for (let round = 0; round < RUN_ROUNDS; round++) {
    for (const [index, run] of RUNS.entries()) {
      const startMs = nowMs - HOUR_MS + (round * RUNS.length + index) * 120_000
      const id = traceRun(tracer, run, startMs, round)
      spans += run.steps.length + 1
      if (run.agent === 'refund-agent') traceId = id
    }
  }
  await provider.forceFlush()
  await provider.shutdown()
  return { spans, traceId }
}

function traceRun(tracer: Tracer, run: Run, startMs: number, round: number): string {
  const root = tracer.startSpan(`invoke_agent ${run.agent}`, {
    startTime: startMs,
    attributes: {
      'gen_ai.operation.name': 'invoke_agent',
      'gen_ai.agent.name': run.agent,
      'gen_ai.conversation.id': `conversation-${round}-${run.user}`,
      'user.id': run.user,
    },
  })
  const parent = trace.setSpan(context.active(), root)
  let atMs = startMs + 5
  for (const step of run.steps) {
    const attributes = { 'gen_ai.agent.name': run.agent, 'user.id': run.user }
    atMs = traceStep(tracer, step, atMs, parent, attributes) + 8
  }
  root.end(atMs)
  return root.spanContext().traceId
}

/** Returns when the step ended, Unix ms. */
function traceStep(
  tracer: Tracer,
  step: Call | Tool,
  startMs: number,
  parent: Context,
  shared: Attributes,
): number {
  const isTool = 'tool' in step
  const attributes = isTool ? toolAttributes(step) : callAttributes(step)
  const name = isTool ? `execute_tool ${step.tool}` : `${step.operation ?? 'chat'} ${step.model}`
  const span = tracer.startSpan(
    name,
    { startTime: startMs, attributes: { ...shared, ...attributes } },
    parent,
  )
  const endMs = startMs + step.ms
  if (step.error !== undefined) {
    span.setStatus({ code: SpanStatusCode.ERROR, message: step.error })
    span.setAttribute('error.type', step.error.includes('timed out') ? 'timeout' : step.error)
  }
  span.end(endMs)
  return endMs
}

function toolAttributes(step: Tool): Attributes {
  return {
    'gen_ai.operation.name': 'execute_tool',
    'gen_ai.tool.name': step.tool,
    'gen_ai.tool.type': 'function',
  }
}

function callAttributes(call: Call): Attributes {
  const messages = [{ role: 'user', parts: [{ type: 'text', content: 'Where is my order?' }] }]
  return {
    'gen_ai.operation.name': call.operation ?? 'chat',
    'gen_ai.provider.name': call.provider,
    'gen_ai.request.model': call.model,
    'gen_ai.response.model': call.model,
    'gen_ai.input.messages': JSON.stringify(messages),
    ...(call.error === undefined ? usage(call) : {}),
  }
}

function usage(call: Call): Attributes {
  return {
    'gen_ai.usage.input_tokens': call.input,
    'gen_ai.usage.output_tokens': call.output,
    ...(call.cached === undefined ? {} : { 'gen_ai.usage.cache_read.input_tokens': call.cached }),
    ...(call.reasoning === undefined ? {} : { 'gen_ai.usage.reasoning.output_tokens': call.reasoning }),
    ...(call.operation === 'embeddings' ? {} : { 'gen_ai.response.finish_reasons': ['stop'] }),
  }
}
