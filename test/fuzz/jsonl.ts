import { decodeBatch } from '../../pipeline/batch/otlp-batch.ts'
import { config } from '../../receivers/jsonl/config.ts'
import { Decoder, type Range } from '../../receivers/jsonl/decode.ts'
import { LineError } from '../../receivers/jsonl/line-error.ts'
import { BYTE_NEWLINE, lineEnd } from '../../receivers/jsonl/lines.ts'
import { META } from '../otlp/rows-of.ts'
import { jsonOf, sampled } from './otlp.ts'
import { unless, type Target } from './target.ts'
import { EVENTS } from './toon.ts'

const RANGE: Range = {
  tenant: 'default',
  fileId: 'f',
  path: '/var/log/agent.jsonl',
  receivedAtMs: Date.UTC(2026, 10, 21),
}

const OTHER = {
  time: '2026-11-21T10:00:00Z',
  level: 'info',
  msg: 'called',
  trace: 'a'.repeat(32),
  tokens: { input: 5, output: 7 },
  list: [1, 'two', { three: null }],
}

const AUDIT = {
  event_version: '3',
  trace_id: 't-1',
  span_id: 's-1',
  timestamp: '2026-11-21T10:00:00.123Z',
  event_type: 'llm.invoke',
  agent: 'planner',
  action: 'chat',
  status: 'ok',
  latency_ms: 12.5,
  tokens_input: 10,
  tokens_output: 20,
  cost_usd: 0.001,
  data: { model: 'gpt-4o', nested: { deep: [1, 2] } },
  error: null,
}

const MAPPING = {
  trace_id: 'trace',
  time: 'time',
  name: 'msg',
  status: 'level',
  attributes: { 'gen_ai.usage.input_tokens': 'tokens.input' },
}

/** A file of lines of every format; a line that is refused leaves nothing of itself in the range. */
export const jsonl: Target = {
  name: 'jsonl',
  seeds(seed) {
    const lines = [
      ...sampled(seed, 60).map(jsonOf),
      ...[...EVENTS, AUDIT, { ...AUDIT, status: 'error', error: { type: 'E', message: 'm' } }, OTHER].map(
        (one) => Buffer.from(JSON.stringify(one)),
      ),
    ]
    const newline = Buffer.from('\n')
    return lines.map((line, n) => Buffer.concat([line, newline, lines[(n + 1) % lines.length]!, newline]))
  },
  run(input) {
    const range = DECODER.range(RANGE)
    const bytes = Buffer.from(input)
    let taken = 0
    for (let at = 0; at < bytes.length;) {
      const found = lineEnd(bytes, at, bytes.length, BYTE_NEWLINE)
      const end = found < 0 ? bytes.length : found
      const line = bytes.subarray(at, found < 0 ? end : end - 1)
      const first = at
      if (unless(isLineError, () => (range.add(line, first), true)) === true) taken++
      at = end
    }
    const decoded = range.take()
    const { rows } = decodeBatch(decoded.bytes, META)
    if (rows + decoded.events.length > 0 && taken === 0) throw new Error('spans of no line')
    return taken > 0
  },
}

const DECODER = new Decoder(config.parse({ include: ['/var/log/*.jsonl'], mapping: MAPPING }))

const isLineError = (error: unknown): boolean => error instanceof LineError
