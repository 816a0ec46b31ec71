/** An attribute, and the text that the collector's AsString makes of it, written out by hand. */
interface GoldenAttribute {
  readonly key: string
  /** AnyValue as OTLP/JSON. */
  readonly value: object
  readonly text: string
}

export type AttributeClass = readonly GoldenAttribute[]

const text = (key: string, value: string): GoldenAttribute => ({
  key,
  value: { stringValue: value },
  text: value,
})
const int = (key: string, value: string | number): GoldenAttribute => ({
  key,
  value: { intValue: String(value) },
  text: String(value),
})
const flag = (key: string, value: boolean): GoldenAttribute => ({
  key,
  value: { boolValue: value },
  text: value ? 'true' : 'false',
})
const any = (key: string, value: object, shown: string): GoldenAttribute => ({ key, value, text: shown })

/** Resources of the collector's golden dataset. */
export const RESOURCES: Readonly<Record<string, AttributeClass>> = {
  Empty: [],
  VMOnPrem: [
    text('service.name', 'customers'),
    text('service.version', 'semver:0.7.3'),
    text('host.hostname', 'tc-prod9.internal.example'),
  ],
  VMCloud: [
    text('service.name', 'customers'),
    text('service.instance.id', '0f1bf9e1-8c4c-4a1a-9d9f-4c0f8f6b7a3f'),
    text('cloud.provider', 'aws'),
    text('cloud.zone', 'us-west-2b'),
  ],
  K8sOnPrem: [
    text('k8s.cluster.name', 'docker-desktop'),
    text('k8s.pod.name', 'web-7df79cc46f-92h2x'),
    text('container.image.name', 'otel/customers:1.4'),
  ],
  K8sCloud: [
    text('service.name', 'pod/é 漢字'),
    text('k8s.namespace.name', 'cert-manager'),
    text('cloud.account.id', '12345678901'),
  ],
  Faas: [text('faas.name', 'my-lambda'), text('faas.version', 'semver:1.0.0'), int('faas.memory', 512)],
  Exec: [
    text('process.executable.name', 'otelcol'),
    int('process.pid', 2020),
    any(
      'process.command_args',
      { arrayValue: { values: [{ stringValue: '--config' }, { stringValue: 'a "b".yaml' }] } },
      '["--config","a \\"b\\".yaml"]',
    ),
  ],
}

const PROMPT = 'Which of our <b>orders</b> & refunds are late?\n\n\tAnswer in JSON: {"late": []}'

const GENERAL: Readonly<Record<string, AttributeClass>> = {
  Empty: [],
  DatabaseSQL: [
    text('db.system', 'mysql'),
    text('db.statement', "SELECT * FROM orders WHERE id = 'o-''17'\\'"),
    int('net.peer.port', 3306),
  ],
  DatabaseNoSQL: [text('db.system', 'mongodb'), text('db.mongodb.collection', 'products')],
  FaaSDatasource: [text('faas.trigger', 'datasource'), text('faas.document.time', '2020-01-23T13:47:06Z')],
  FaaSHTTP: [text('faas.trigger', 'http'), int('http.status_code', 201)],
  FaaSPubSub: [text('faas.trigger', 'pubsub'), text('messaging.operation', 'process')],
  FaaSTimer: [text('faas.trigger', 'timer'), text('faas.cron', '0/5 * * * ? *')],
  FaaSOther: [int('processed.count', 256), any('processed.data', { doubleValue: 1024.36 }, '1024.36')],
  HTTPClient: [text('http.method', 'GET'), int('http.status_code', 200)],
  HTTPServer: [text('http.method', 'POST'), text('http.user_agent', ''), int('http.status_code', 201)],
  MessagingProducer: [text('messaging.system', 'nats'), flag('messaging.temp_destination', false)],
  MessagingConsumer: [
    text('messaging.operation', 'receive'),
    int('messaging.message_payload_size_bytes', 2048),
  ],
  GRPCClient: [text('rpc.service', 'PullRequestsService'), int('net.peer.port', 8443)],
  GRPCServer: [text('rpc.service', 'PullRequestsService'), text('net.peer.ip', '192.168.1.70')],
  Internal: [text('parameters', 'account=7310,amount=1817.10'), flag('ai.sampler.hash', true)],
  MaxCount: Array.from({ length: 128 }, (_, i) => text(`attribute.number.${i}`, 'v'.repeat(i))),
  EveryType: [
    any('empty', {}, ''),
    text('text.empty', ''),
    text('text.unicode', 'a\u0000b\u2028c😀'),
    text('__proto__', 'is data'),
    text('a.b.c', 'stays flat'),
    flag('yes', true),
    int('int.min', '-9223372036854775808'),
    int('int.max', '9223372036854775807'),
    any('double.tiny', { doubleValue: 1e-7 }, '1e-7'),
    any('double.large', { doubleValue: 1e21 }, '1e+21'),
    any('double.third', { doubleValue: 1 / 3 }, '0.3333333333333333'),
    any('double.whole', { doubleValue: 3 }, '3'),
    any('bytes', { bytesValue: 'AAECf4D/' }, 'AAECf4D/'),
    any('list.empty', { arrayValue: { values: [] } }, '[]'),
    any(
      'list',
      { arrayValue: { values: [{ stringValue: '"' }, { intValue: '-1' }, { boolValue: true }, {}] } },
      '["\\"",-1,true,null]',
    ),
    any(
      'map',
      {
        kvlistValue: {
          values: [
            { key: 'z', value: { doubleValue: 0.5 } },
            { key: 'a.b', value: { kvlistValue: { values: [{ key: 'c', value: { bytesValue: '/w==' } }] } } },
          ],
        },
      },
      '{"a.b":{"c":"/w=="},"z":0.5}',
    ),
  ],
}

const AGENTS: Readonly<Record<string, AttributeClass>> = {
  GenAiChat: [
    text('gen_ai.operation.name', 'chat'),
    text('gen_ai.provider.name', 'anthropic'),
    text('gen_ai.request.model', 'claude-sonnet-4-5'),
    text('gen_ai.response.model', 'claude-sonnet-4-5-20250929'),
    any(
      'gen_ai.response.finish_reasons',
      { arrayValue: { values: [{ stringValue: 'end_turn' }] } },
      '["end_turn"]',
    ),
    any('gen_ai.request.temperature', { doubleValue: 0.7 }, '0.7'),
    int('gen_ai.usage.input_tokens', 12_345),
    int('gen_ai.usage.cache_read.input_tokens', 10_000),
    int('gen_ai.usage.output_tokens', 321),
    text(
      'gen_ai.input.messages',
      JSON.stringify([{ role: 'user', parts: [{ type: 'text', content: PROMPT }] }]),
    ),
  ],
  GenAiTool: [
    text('gen_ai.operation.name', 'execute_tool'),
    text('gen_ai.tool.name', 'search_orders'),
    text('gen_ai.tool.call.id', 'call_7'),
    text('gen_ai.tool.call.arguments', '{"late":true}'),
  ],
  GenAiAgent: [
    text('gen_ai.operation.name', 'invoke_agent'),
    text('gen_ai.agent.name', 'refunds'),
    text('gen_ai.conversation.id', 'c-1'),
  ],
  OpenInferenceLlm: [
    text('openinference.span.kind', 'LLM'),
    text('llm.model_name', 'gpt-4o-mini'),
    int('llm.token_count.prompt', 1420),
    int('llm.token_count.completion', 55),
    int('llm.token_count.prompt_details.cache_read', 1024),
    text('llm.input_messages.0.message.role', 'user'),
    text('llm.input_messages.0.message.content', PROMPT),
    text('llm.invocation_parameters', '{"temperature": 0}'),
  ],
  OpenInferenceTool: [
    text('openinference.span.kind', 'TOOL'),
    text('tool.name', 'search'),
    text('input.value', PROMPT),
    text('input.mime_type', 'text/plain'),
  ],
  OpenLlmetryLlm: [
    text('traceloop.workflow.name', 'refunds'),
    text('llm.request.type', 'chat'),
    text('gen_ai.system', 'OpenAI'),
    text('gen_ai.request.model', 'gpt-4o'),
    int('gen_ai.usage.prompt_tokens', 77),
    int('gen_ai.usage.completion_tokens', 7),
    int('llm.usage.total_tokens', 84),
    text('gen_ai.prompt.0.content', PROMPT),
  ],
  OpenLlmetryTask: [
    text('traceloop.span.kind', 'task'),
    text('traceloop.entity.name', 'joke'),
    text('traceloop.entity.input', '{"args": [], "kwargs": {}}'),
    text('traceloop.association.properties.user_id', 'u-9'),
  ],
}

/** The sixteen classes of the collector's golden dataset, every type of value, and what agents send. */
export const ATTRIBUTES: Readonly<Record<string, AttributeClass>> = { ...GENERAL, ...AGENTS }

/** What events and links carry, in turn. */
export const NOTES: readonly AttributeClass[] = [
  [],
  [text('exception.type', 'TimeoutError'), text('exception.message', 'gave up after 30 s\n')],
  [int('message.id', 7), flag('message.compressed', true), any('size', { doubleValue: 1.5 }, '1.5')],
]
