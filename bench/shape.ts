/**
 * The standard request of every benchmark: spans of LLM calls, about 850 bytes each, with 12 attributes of which one is
 * a prompt of 300 bytes, under a resource of 6 attributes. A pure function of its arguments; requests of different
 * seeds share no trace, no text and no token count. Written here by hand, so that a benchmark of our codecs does not
 * lean on them.
 */
export function standardRequest(seed: number, spans = 512, startNs = BASE_NS): Uint8Array {
  const random = mulberry32(Math.imul(seed, 0x9e3779b1) ^ 0x5bd1e995)
  const resource = message(1, ...RESOURCE.map(([key, value]) => attribute(1, key, text(1, value(seed)))))
  const scope = message(1, text(1, 'opentelemetry.instrumentation.openai'), text(2, '0.47.3'))
  const rows: Buffer[] = []
  let trace: Trace | undefined
  for (let row = 0; row < spans; row++) {
    const isRoot = row % TRACE === 0 || trace === undefined
    if (isRoot) trace = { id: bytesOf(random, 16), root: bytesOf(random, 8) }
    rows.push(span(random, trace!, isRoot, startNs + BigInt(row) * 1_000_000n))
  }
  return message(1, resource, message(2, scope, ...rows))
}

/** 2026-06-01T00:00:00Z. */
export const BASE_NS = 1_780_272_000_000_000_000n

/** Spans per trace; the first of them is the root. */
const TRACE = 8

const MODELS = [
  'gpt-4o-mini-2024-07-18',
  'gpt-4o-2024-08-06',
  'claude-sonnet-4-20250514',
  'gemini-2.5-flash',
] as const
const PROVIDERS = ['openai', 'openai', 'anthropic', 'gcp.gemini'] as const
const RESOURCE: readonly (readonly [string, (seed: number) => string])[] = [
  ['service.name', () => 'checkout-agent'],
  ['service.version', () => '2.14.0'],
  ['deployment.environment.name', () => 'production'],
  ['host.name', (seed) => `node-${seed % 16}`],
  ['telemetry.sdk.name', () => 'opentelemetry'],
  ['telemetry.sdk.language', () => 'python'],
]
const WORDS =
  'please check the order status of my last purchase and explain why the refund was not applied to the card ending with an answer in two short sentences including every policy that matters'.split(
    ' ',
  )

type Random = () => number

interface Trace {
  readonly id: Buffer
  readonly root: Buffer
}

function span(random: Random, trace: Trace, isRoot: boolean, startNs: bigint): Buffer {
  const start = startNs + BigInt(Math.floor(random() * 1e6))
  const end = start + BigInt(Math.floor(random() * 3e9) + 5e6)
  const model = Math.floor(random() * MODELS.length)
  return message(
    2,
    bytes(1, trace.id),
    bytes(2, isRoot ? trace.root : bytesOf(random, 8)),
    isRoot ? Buffer.alloc(0) : bytes(4, trace.root),
    text(5, `chat ${MODELS[model]!}`),
    varint(6, 3),
    fixed64(7, start),
    fixed64(8, end),
    ...attributes(random, model),
    message(15, varint(3, random() < 0.03 ? 2 : 1)),
  )
}

function attributes(random: Random, model: number): Buffer[] {
  const input = Math.floor(random() * 8000) + 40
  return [
    attribute(9, 'gen_ai.operation.name', text(1, 'chat')),
    attribute(9, 'gen_ai.provider.name', text(1, PROVIDERS[model]!)),
    attribute(9, 'gen_ai.request.model', text(1, MODELS[model]!)),
    attribute(9, 'gen_ai.response.model', text(1, MODELS[model]!)),
    attribute(9, 'gen_ai.request.temperature', double(4, Math.round(random() * 10) / 10)),
    attribute(9, 'gen_ai.usage.input_tokens', varint(3, input)),
    attribute(9, 'gen_ai.usage.output_tokens', varint(3, Math.floor(random() * 900) + 1)),
    attribute(9, 'gen_ai.usage.cache_read.input_tokens', varint(3, Math.floor(random() * input))),
    attribute(9, 'gen_ai.response.id', text(1, `chatcmpl-${bytesOf(random, 12).toString('hex')}`)),
    attribute(9, 'gen_ai.conversation.id', text(1, bytesOf(random, 16).toString('hex'))),
    attribute(9, 'user.id', text(1, `user-${Math.floor(random() * 1e6)}`)),
    attribute(9, 'gen_ai.prompt', text(1, prompt(random))),
  ]
}

function prompt(random: Random): string {
  let out = `#${Math.floor(random() * 1e9)}`
  while (out.length < 300) out += ` ${WORDS[Math.floor(random() * WORDS.length)]!}`
  return out.slice(0, 300)
}

function attribute(field: number, key: string, value: Buffer): Buffer {
  return message(field, text(1, key), message(2, value))
}

function message(field: number, ...parts: Buffer[]): Buffer {
  return bytes(field, Buffer.concat(parts))
}

function text(field: number, value: string): Buffer {
  return bytes(field, Buffer.from(value))
}

function bytes(field: number, value: Buffer): Buffer {
  return Buffer.concat([uvarint(field * 8 + 2), uvarint(value.length), value])
}

function varint(field: number, value: number): Buffer {
  return Buffer.concat([uvarint(field * 8), uvarint(value)])
}

function fixed64(field: number, value: bigint): Buffer {
  const out = Buffer.alloc(9)
  out[0] = field * 8 + 1
  out.writeBigUInt64LE(value, 1)
  return out
}

function double(field: number, value: number): Buffer {
  const out = Buffer.alloc(9)
  out[0] = field * 8 + 1
  out.writeDoubleLE(value, 1)
  return out
}

function uvarint(value: number): Buffer {
  const out: number[] = []
  let rest = value
  for (; rest > 127; rest = Math.floor(rest / 128)) out.push((rest % 128) | 128)
  out.push(rest)
  return Buffer.from(out)
}

function bytesOf(random: Random, size: number): Buffer {
  return Buffer.from(Array.from({ length: size }, () => Math.floor(random() * 256)))
}

/** A small seeded generator: the same numbers on every machine. */
function mulberry32(seed: number): Random {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}
