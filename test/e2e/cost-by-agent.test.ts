import { fileURLToPath } from 'node:url'
import { context, trace, type Attributes, type Span } from '@opentelemetry/api'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { verb as cost } from '../../cmd/cost.ts'
import { runVerb } from '../support/api-on-chdb.ts'
import { startDaemon, type Daemon } from '../support/daemon.ts'
import { until } from '../support/until.ts'

const QUICKSTART = fileURLToPath(new URL('../../config/examples/quickstart.yaml', import.meta.url))

let daemon: Daemon
let provider: BasicTracerProvider
beforeAll(async () => {
  daemon = await startDaemon({ config: QUICKSTART })
  await daemon.ready()
  const exporter = new OTLPTraceExporter({ url: `${daemon.endpoints.http}/v1/traces` })
  provider = new BasicTracerProvider({ spanProcessors: [new BatchSpanProcessor(exporter)] })
}, 200_000)
afterAll(async () => {
  await provider?.shutdown()
  await daemon?.stop()
})

function begin(name: string, attributes: Attributes, parent?: Span): Span {
  const around = parent === undefined ? context.active() : trace.setSpan(context.active(), parent)
  return provider.getTracer('agents').startSpan(name, { attributes }, around)
}

/** As the GenAI conventions have it: the agent's name is on this span and on none below. */
function agent(name: string, parent?: Span): Span {
  return begin(
    `invoke_agent ${name}`,
    { 'gen_ai.operation.name': 'invoke_agent', 'gen_ai.agent.name': name },
    parent,
  )
}

function call(input: number, parent: Span): void {
  begin(
    'chat gpt-4o',
    {
      'gen_ai.operation.name': 'chat',
      'gen_ai.provider.name': 'openai',
      'gen_ai.request.model': 'gpt-4o',
      'gen_ai.usage.input_tokens': input,
    },
    parent,
  ).end()
}

async function inputByAgent(spans: number): Promise<Record<string, string>> {
  await provider.forceFlush()
  await until(async () => {
    const [row] = await daemon.query('SELECT count() FROM otel_traces')
    return Number(row?.[0]) === spans
  })
  const argv = ['--by', 'agent', '--json', '--endpoint', daemon.endpoints.api]
  const { lines } = JSON.parse((await runVerb(cost, argv)).out) as {
    lines: { agent: string; input: string }[]
  }
  return Object.fromEntries(lines.map((line) => [line.agent, line.input]))
}

it('tells what each agent cost once its span has come, in a later export than its calls', async () => {
  const planner = agent('planner')
  call(1, planner)
  const tool = begin('execute_tool ask', { 'gen_ai.operation.name': 'execute_tool' }, planner)
  const writer = agent('writer', tool)
  const step = begin('step', {}, writer)
  call(10, step)
  step.end()
  writer.end()
  call(100, tool)
  tool.end()
  expect(await inputByAgent(6)).toEqual({ writer: '10', '': '101' })
  planner.end()
  expect(await inputByAgent(7)).toEqual({ writer: '10', planner: '101' })
})
