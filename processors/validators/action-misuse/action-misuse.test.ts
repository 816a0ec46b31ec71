import { describe, expect, it } from 'vitest'
import { decodeJsonBatch } from '../../../pipeline/batch/otlp-batch.ts'
import { config } from './config.ts'
import { actionMisuse } from './factory.ts'
import { testMeta } from '../../../test/support/batch-meta.ts'

const actionMisuseMaker = await actionMisuse.load()

const meta = testMeta()

type Given = Readonly<Record<string, string>>

function batchOf(...spans: Given[]) {
  const made = spans.map((attributes) => ({
    name: 'call',
    attributes: Object.entries(attributes).map(([key, stringValue]) => ({ key, value: { stringValue } })),
  }))
  return decodeJsonBatch(
    Buffer.from(JSON.stringify({ resourceSpans: [{ scopeSpans: [{ spans: made }] }] })),
    meta,
  )
}

function rules(settings: object, ...spans: Given[]): string[][] {
  const found: string[][] = spans.map(() => [])
  actionMisuseMaker
    .create(config.parse(settings))
    .judge?.(batchOf(...spans), (row, { rule }) => found[row]?.push(rule))
  return found
}

const tool = (name: string, parameters: object, agent = ''): Given => ({
  'gen_ai.operation.name': 'execute_tool',
  'gen_ai.tool.name': name,
  'gen_ai.tool.call.arguments': JSON.stringify(parameters),
  ...(agent !== '' && { 'gen_ai.agent.name': agent }),
})
const event = (type: string, action: string, params: object, agent: string): Given => ({
  'toon.type': type,
  'toon.payload': JSON.stringify({ action, params }),
  'gen_ai.agent.id': agent,
  [type === 'action_request' ? 'toon.action' : 'gen_ai.tool.name']: action,
})

describe('rights', () => {
  const settings = {
    injection: 'NONE',
    agents: [
      { agent: 'support*', allow: ['search*', 'reply'], deny: ['search_salaries'] },
      { agent: '*', deny: ['drop_*'] },
    ],
  }

  it('are those of the first entry that fits the agent; what is denied wins', () => {
    expect(
      rules(
        settings,
        tool('search_web', {}, 'support-1'),
        tool('refund', {}, 'support-1'),
        tool('search_salaries', {}, 'support-1'),
        tool('drop_table', {}, 'other'),
        tool('refund', {}, 'other'),
        tool('refund', {}),
      ),
    ).toEqual([[], ['action_not_allowed'], ['denied_action'], ['denied_action'], [], []])
  })

  it('hold for events, once per call', () => {
    expect(
      rules(
        settings,
        event('action_request', 'refund', {}, 'support-1'),
        event('action_response', 'refund', {}, 'support-1'),
        event('reasoning', '', {}, 'support-1'),
      ),
    ).toEqual([['action_not_allowed'], [], []])
  })

  it('of spans that name no agent are those of the agent above, by the run', () => {
    const batch = batchOf({ 'gen_ai.agent.name': 'support-1' }, tool('search_web', {}), tool('refund', {}))
    const step = { name: 'n', startMs: 0, endMs: 0, statusCode: 0, step: 'execute_tool', action: '', seq: 0 }
    const spans = [0, 1, 2].map((row) => {
      return { ...step, batch, row, spanId: `s${row}`, parentId: row === 0 ? '' : `s${row - 1}` }
    })
    const found: (readonly [string, string | undefined])[] = []
    const run = {
      tenant: '',
      project: '',
      traceId: '',
      runId: '',
      agent: '',
      status: 'idle',
      atMs: 0,
    } as const
    const judge = actionMisuseMaker.create(config.parse(settings))
    judge.judgeRun?.({ ...run, spans }, ({ rule }, span) => found.push([rule, span?.spanId]))
    expect(found).toEqual([['action_not_allowed', 's2']])
  })
})

describe('parameters', () => {
  const mail = {
    type: 'object',
    properties: {
      to: { type: 'string', pattern: '@example\\.org$' },
      copies: { type: 'integer', maximum: 3 },
    },
    required: ['to'],
    additionalProperties: false,
  }
  const settings = { injection: 'NONE', parameters: [{ action: 'send_*', schema: mail }] }

  it('must fit the schema of their action', () => {
    expect(
      rules(
        settings,
        tool('send_mail', { to: 'a@example.org', copies: 3 }),
        tool('send_mail', { to: 'a@example.com' }),
        tool('send_mail', { to: 'a@example.org', copies: 4 }),
        tool('send_mail', { to: 'a@example.org', bcc: 'x' }),
        { 'gen_ai.tool.name': 'send_mail' },
        { 'gen_ai.tool.name': 'send_mail', 'gen_ai.tool.call.arguments': 'not json' },
        tool('other', { copies: 9 }),
        event('action_request', 'send_mail', { copies: 1 }, 'a'),
      ).map(({ length }) => length),
    ).toEqual([0, 1, 1, 1, 1, 1, 0, 1])
  })

  it('are named in the message by their field, never by what is in them', () => {
    const messages: string[] = []
    const batch = batchOf(tool('send_mail', { to: 'ada@secret.example' }))
    actionMisuseMaker
      .create(config.parse(settings))
      .judge?.(batch, (_, { message }) => messages.push(message))
    expect(messages).toEqual(['parameters: to: invalid format'])
  })

  it.each([
    [{ type: 'nothing' }, 'JSON Schema'],
    [{ properties: { a: { type: 'string', pattern: '(?=x)' } } }, 'linear time'],
    [{ type: 'string', pattern: '(' }, 'linear time'],
  ])('are refused a schema that cannot be used: %j', (schema, problem) => {
    const parsed = config.safeParse({ parameters: [{ action: 'a', schema }] })
    expect(parsed.error?.issues[0]?.message).toContain(problem)
  })
})

describe('injection', () => {
  it('is looked for in every parameter that is not a command by purpose', () => {
    expect(
      rules(
        {},
        tool('lookup', { name: 'Ada', filter: { like: "x' OR 1=1 --" } }),
        tool('convert', { files: ['a.png; rm -rf /'] }),
        tool('run', { command: 'ls; rm -rf /tmp/x' }),
        tool('bash', { line: 'ls; rm -rf /tmp/x' }),
        tool('search', { q: 'fish & chips; the best in town?' }),
        { 'gen_ai.tool.name': 'convert', 'gen_ai.tool.call.arguments': 'a.png; rm -rf /' },
      ),
    ).toEqual([['sql_tautology'], ['shell_command_chain'], [], [], [], ['shell_command_chain']])
  })

  it('can be left out', () => {
    expect(rules({ injection: 'NONE' }, tool('convert', { file: 'a.png; rm -rf /' }))).toEqual([[]])
  })
})
