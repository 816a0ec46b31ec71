import * as fc from 'fast-check'
import { afterEach, expect, test } from 'vitest'
import { emptyFacts, TOKENS } from '../../pipeline/batch/facts.ts'
import type { Exporter } from '../../pipeline/component.ts'
import {
  exporterContext,
  RECEIVED_AT_MS,
  testBatch,
  testDelivery,
  type TestSpan,
} from '../../test/contract/exporter.ts'
import { CloudWatch } from '../../test/support/cloudwatch.ts'
import { config } from './config.ts'
import { cloudwatch } from './factory.ts'

const cloudwatchMaker = await cloudwatch.load()

const NEVER = new AbortController().signal
const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const undo: (() => Promise<unknown> | void)[] = []
afterEach(async () => {
  for (const each of undo.splice(0).reverse()) await each()
})

async function server(): Promise<CloudWatch> {
  const made = await CloudWatch.start(() => RECEIVED_AT_MS)
  undo.push(() => made.close())
  return made
}

async function exporterTo({ access }: CloudWatch, more: object = {}): Promise<Exporter> {
  const options = config.parse({ ...access, retry_mode: 'nop', timeout: '60s', ...more })
  const exporter = cloudwatchMaker.create(options, exporterContext('cloudwatch'))
  await exporter.start?.()
  undo.push(() => exporter.stop?.(NEVER))
  return exporter
}

function spanAt(ms: number, more: object = {}): TestSpan {
  const ns = (at: number) => String(BigInt(at) * 1_000_000n)
  return { startTimeUnixNano: ns(ms), endTimeUnixNano: ns(ms + 5), ...more }
}

const text = (key: string, stringValue: string) => ({ key, value: { stringValue } })
const resourceOf = (service: string) => ({ attributes: [text('service.name', service)] })

test('group and stream are made when first needed, whole, and again when they have gone', async () => {
  const aws = await server()
  const exporter = await exporterTo(aws, {
    log_retention: 30,
    tags: { team: 'agents' },
    kms_key_id: 'arn:aws:kms:eu-west-1:1:key/k',
  })
  await exporter.consume(testBatch([{}], { tenant: 'acme' }), NEVER)
  await exporter.consume(testBatch([{}], { tenant: 'acme' }), NEVER)
  const making = ['PutLogEvents', 'CreateLogGroup', 'PutRetentionPolicy', 'CreateLogStream', 'PutLogEvents']
  expect(aws.operations()).toEqual([...making, 'PutLogEvents'])
  const group = aws.groups.get('/weir/acme')
  expect(group).toMatchObject({ tags: { team: 'agents' }, retentionDays: 30 })
  expect(group?.created).toMatchObject({ kmsKeyId: 'arn:aws:kms:eu-west-1:1:key/k' })
  expect(aws.events('/weir/acme', 'shop')).toHaveLength(2)
  // Killed between group and retention: the next that misses a stream puts it.
  delete group?.retentionDays
  group?.streams.clear()
  await (await exporterTo(aws, { log_retention: 30 })).consume(testBatch([{}], { tenant: 'acme' }), NEVER)
  expect(group?.retentionDays).toBe(30)
  aws.groups.clear()
  await exporter.consume(testBatch([{}], { tenant: 'acme' }), NEVER)
  expect(aws.events('/weir/acme', 'shop')).toHaveLength(1)
  expect(aws.groups.get('/weir/acme')?.retentionDays).toBe(30)
})

test('who may not make groups can be given one; else is told what is missing', async () => {
  const aws = await server()
  aws.rule = ({ operation }) =>
    operation === 'CreateLogGroup' ? { status: 400, code: 'AccessDeniedException' } : 'take'
  const exporter = await exporterTo(aws)
  await expect(exporter.consume(testBatch([{}]), NEVER)).rejects.toMatchObject({
    message: expect.stringContaining('logs:CreateLogGroup') as string,
    verdict: { do: 'retry', afterMs: 10_000 },
  })
  aws.groups.set('/weir/default', { tags: {}, created: {}, streams: new Map() })
  await exporter.consume(testBatch([{}]), NEVER)
  expect(aws.events('/weir/default', 'shop')).toHaveLength(1)
})

test('an event is flat JSON with the attributes below', async () => {
  const aws = await server()
  const span = {
    name: 'chat',
    parentSpanId: '00000000000000ff',
    status: { code: 2, message: 'went wrong' },
    attributes: [
      text('gen_ai.request.model', 'gpt-4o'),
      { key: 'n', value: { intValue: '9007199254740993' } },
    ],
    events: [{ name: 'e', timeUnixNano: '1000000001', attributes: [text('k', 'v')] }],
  }
  await (await exporterTo(aws)).consume(testBatch([span], { tenant: 'acme', project: 'p' }), NEVER)
  const [event] = aws.events('/weir/acme', 'shop')
  expect(event?.timestamp).toBe(RECEIVED_AT_MS)
  expect(JSON.parse(event?.message ?? '')).toEqual({
    trace_id: '0af7651916cd43dd8448eb211c80319c',
    span_id: '0000000000000001',
    parent_span_id: '00000000000000ff',
    name: 'chat',
    kind: 'internal',
    start_time: '2026-11-21T12:00:00.000000000Z',
    duration_ms: 1,
    status: 'error',
    status_message: 'went wrong',
    service: 'shop',
    tenant: 'acme',
    project: 'p',
    source: 'test',
    attributes: { 'gen_ai.request.model': 'gpt-4o', n: '9007199254740993' },
    resource: { 'service.name': 'shop' },
    scope: { name: 'test', version: '1', attributes: {} },
    events: [{ name: 'e', time: '1970-01-01T00:00:01.000000001Z', attributes: { k: 'v' } }],
  })
})

test('model calls become metrics, by the sets of dimensions that they have', async () => {
  const aws = await server()
  const exporter = await exporterTo(aws, {
    emf: { namespace: 'agents', dimensions: [[], ['provider', 'model'], ['agent']] },
  })
  const batch = testBatch([{}, { name: 'no call' }])
  const facts = emptyFacts(2)
  facts.leaf[0] = 1
  facts.provider.set(0, 'openai')
  facts.requestModel.set(0, 'gpt-4o')
  facts.tokens[TOKENS.indexOf('InputTokens')] = 120
  facts.cost[0] = 1_500_000_000n
  batch.facts = facts
  await exporter.consume(batch, NEVER)
  const [call, other] = aws.all().map(({ message }) => JSON.parse(message) as Record<string, unknown>)
  const units = [
    { Name: 'duration_ms', Unit: 'Milliseconds' },
    { Name: 'cost_usd', Unit: 'None' },
    { Name: 'input_tokens', Unit: 'Count' },
  ]
  expect(call).toMatchObject({
    _aws: {
      Timestamp: RECEIVED_AT_MS,
      CloudWatchMetrics: [{ Namespace: 'agents', Dimensions: [[], ['provider', 'model']], Metrics: units }],
    },
    provider: 'openai',
    model: 'gpt-4o',
    duration_ms: 1,
    cost_usd: 0.0015,
    input_tokens: 120,
  })
  expect(other).not.toHaveProperty('_aws')
  const put = aws.calls.findLast(({ operation }) => operation === 'PutLogEvents')
  expect(put?.headers['x-amzn-logs-format']).toBe('json/emf')
})

test(
  'whatever the sizes and times, requests are within the limits and nothing is missing',
  { timeout: 180_000 },
  async () => {
    const spans = fc.array(
      fc.record({
        hours: fc.oneof(
          fc.constant(0),
          fc.integer({ min: -13 * 24, max: 1 }),
          fc.integer({ min: -60, max: 1 }),
        ),
        size: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.integer({ min: 0, max: 600_000 })),
      }),
      { minLength: 1, maxLength: 12 },
    )
    await fc.assert(
      fc.asyncProperty(spans, async (given) => {
        const aws = await server()
        const exporter = await exporterTo(aws)
        const batch = testBatch(
          given.map(({ hours, size }) =>
            spanAt(RECEIVED_AT_MS + hours * HOUR_MS, {
              attributes: [text('k', 'é'.repeat(size / 2))],
            }),
          ),
        )
        const outcome = await exporter.deliver?.(testDelivery([batch]), NEVER)
        expect(outcome?.rejected).toEqual([])
        expect(aws.all()).toHaveLength(given.length)
        expect(aws.broken).toEqual([])
      }),
      { numRuns: 25 },
    )
  },
)

test('many of the smallest spans', { timeout: 180_000 }, async () => {
  const aws = await server()
  const exporter = await exporterTo(aws)
  const smallest = Array.from({ length: 10_001 }, () => ({ name: '', kind: 0, endTimeUnixNano: '0' }))
  await exporter.consume(testBatch(smallest, { source: '' }, {}), NEVER)
  expect(aws.broken).toEqual([])
  expect(aws.all()).toHaveLength(10_001)
})

test('a span that is too large for an event is rejected, with the limit', async () => {
  const aws = await server()
  const exporter = await exporterTo(aws)
  const big = { attributes: [text('k', 'x'.repeat(1_048_576))] }
  const outcome = await exporter.consume(testBatch([{}, big, {}]), NEVER)
  expect(outcome.rejected).toEqual([{ rows: [1], reason: expect.stringContaining('1048576') as string }])
  expect(aws.all()).toHaveLength(2)
})

test('what AWS leaves out for its time is rejected with the reason, and the rest is stored', async () => {
  const aws = await server()
  const exporter = await exporterTo(aws, { log_retention: 7 })
  const ages = [0, -20 * DAY_MS, -8 * DAY_MS, 3 * HOUR_MS, -HOUR_MS, -15 * DAY_MS]
  const outcome = await exporter.deliver?.(
    testDelivery([testBatch([{}]), testBatch(ages.map((age) => spanAt(RECEIVED_AT_MS + age)))]),
    NEVER,
  )
  const reasons = Object.fromEntries(
    (outcome?.rejected ?? []).map(({ batch, rejection }) => [
      `${batch}/${rejection.rows.join()}`,
      rejection.reason,
    ]),
  )
  expect(reasons).toEqual({
    '1/1': expect.stringContaining('14 days') as string,
    '1/5': expect.stringContaining('14 days') as string,
    '1/2': expect.stringContaining('retention') as string,
    '1/3': expect.stringContaining('2 hours in the future') as string,
  })
  expect(aws.all()).toHaveLength(3)
})

test('a span without a start has the time of its receipt', async () => {
  const aws = await server()
  await (await exporterTo(aws)).consume(testBatch([{ startTimeUnixNano: '0', endTimeUnixNano: '0' }]), NEVER)
  expect(aws.all().map(({ timestamp }) => timestamp)).toEqual([RECEIVED_AT_MS])
})

test('names: by tenant and service; what senders say cannot climb, nor make streams without end', async () => {
  const aws = await server()
  const exporter = await exporterTo(aws, {
    log_group_name: '/agents/{tenant}/{service}',
    log_stream_name: 'spans/{agent}',
    max_streams: 3,
  })
  for (const service of ['../x:*', 'b', '', 'c', 'd', 'b']) {
    await exporter.consume(testBatch([{}], { tenant: 'acme' }, resourceOf(service)), NEVER)
  }
  const found = Array.from(aws.groups, ([name, { streams }]) => [name, ...streams.keys()])
  expect(found).toEqual([
    ['/agents/acme/.._x__', 'spans/unknown'],
    ['/agents/acme/b', 'spans/unknown'],
    ['/agents/acme/unknown', 'spans/unknown'],
    ['/agents/acme/other', 'spans/other'],
  ])
  expect(aws.all()).toHaveLength(6)
})

test.each([
  [400, 'ThrottlingException', undefined],
  [503, 'ServiceUnavailableException', undefined],
  [500, 'InternalServerException', undefined],
  [400, 'AccessDeniedException', 'logs:PutLogEvents'],
  [400, 'ExpiredTokenException', 'expired'],
])('%i %s: tried again', async (status, code, remedy) => {
  const aws = await server()
  aws.rule = () => ({ status, code })
  const exporter = await exporterTo(aws)
  const verdict = remedy === undefined ? { do: 'retry' } : { do: 'retry', afterMs: 10_000 }
  await expect(exporter.consume(testBatch([{}]), NEVER)).rejects.toMatchObject({
    code: 'EXPORT_UNAVAILABLE',
    message: expect.stringContaining(remedy ?? code) as string,
    verdict,
  })
  aws.rule = () => 'take'
  await exporter.consume(testBatch([{}]), NEVER)
  expect(aws.all()).toHaveLength(1)
})

test('the SDK repeats a throttled request itself; a repeat of the range goes on behind what was taken', async () => {
  const aws = await server()
  let asked = 0
  aws.rule = ({ operation }) =>
    operation === 'PutLogEvents' && asked++ === 0 ? { status: 400, code: 'ThrottlingException' } : 'take'
  await (await exporterTo(aws, { retry_mode: 'standard' })).consume(testBatch([{}]), NEVER)
  expect(aws.all()).toHaveLength(1)
  const exporter = await exporterTo(aws)
  aws.rule = ({ body }) => (body.logStreamName === 'b' ? { status: 503, code: 'Down' } : 'take')
  const delivery = testDelivery(['a', 'b'].map((service) => testBatch([{}], {}, resourceOf(service))))
  await expect(exporter.deliver?.(delivery, NEVER)).rejects.toMatchObject({ verdict: { do: 'retry' } })
  aws.rule = () => 'take'
  await exporter.deliver?.(delivery, NEVER)
  expect([aws.events('/weir/default', 'a').length, aws.events('/weir/default', 'b').length]).toEqual([1, 1])
})

test('a half that was taken is not sent again when the other half is', async () => {
  const aws = await server()
  let down = true
  aws.rule = ({ operation, body: { logEvents = [] } }) => {
    if (operation !== 'PutLogEvents') return 'take'
    if (logEvents.length > 2) return { status: 400, code: 'InvalidParameterException' }
    const isLater = logEvents.some(({ message }) => message?.includes('"name":"s5"'))
    return down && isLater ? { status: 503, code: 'Down' } : 'take'
  }
  const exporter = await exporterTo(aws)
  const names = Array.from({ length: 8 }, (_, at) => `s${at}`)
  const spans = names.map((name, at) => spanAt(RECEIVED_AT_MS + at, { name }))
  const delivery = testDelivery([testBatch(spans, {}, resourceOf('a'))])
  await expect(exporter.deliver?.(delivery, NEVER)).rejects.toMatchObject({ verdict: { do: 'retry' } })
  expect(aws.all()).toHaveLength(4)
  down = false
  await exporter.deliver?.(delivery, NEVER)
  const stored = aws
    .events('/weir/default', 'a')
    .map(({ message }) => /"name":"(s\d)"/.exec(message ?? '')?.[1] ?? '')
  expect(stored.toSorted((a, b) => a.localeCompare(b))).toEqual(names)
})

test('a wrong secret is found by its signature and told; probe needs no right to list', async () => {
  const aws = await server()
  const wrong = await exporterTo(aws, { secret_access_key: 'wrong' })
  for (const trial of [wrong.consume(testBatch([{}]), NEVER), wrong.probe?.(NEVER)]) {
    await expect(trial).rejects.toMatchObject({
      message: expect.stringMatching(/credentials are .*InvalidSignatureException/) as string,
    })
  }
  aws.rule = () => ({ status: 400, code: 'AccessDeniedException' })
  await (await exporterTo(aws)).probe?.(NEVER)
})

test.each([
  { log_retention: 2 },
  { log_group_name: 'aws/x' },
  { log_group_name: 'a/{nobody}' },
  { log_stream_name: 'a:b' },
  { access_key_id: 'x' },
  { tags: { 'aws:x': 'y' } },
  { emf: {}, log_group_class: 'INFREQUENT_ACCESS' },
  { emf: { dimensions: [['trace_id']] } },
])('%j is no config', (options) => {
  expect(config.safeParse(options).success).toBe(false)
})
