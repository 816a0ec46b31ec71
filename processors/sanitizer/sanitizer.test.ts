import { pino } from 'pino'
import { describe, expect, it } from 'vitest'
import type { Batch } from '../../pipeline/batch/batch.ts'
import { keyId } from '../../pipeline/batch/keys.ts'
import { decodeBatch, decodeJsonBatch } from '../../pipeline/batch/otlp-batch.ts'
import { Secret } from '../../pipeline/secret.ts'
import { createMeter } from '../../pipeline/telemetry/prom-meter.ts'
import { canaryDocument } from '../../test/support/canaries.ts'
import { config, type SanitizerConfig } from './config.ts'
import { Sanitizer } from './sanitizer.ts'
import { testMeta } from '../../test/support/batch-meta.ts'

const meta = testMeta({ tenant: 'acme' })

async function sanitizer(options: object = {}): Promise<Sanitizer> {
  const settings: SanitizerConfig = {
    ...config.parse({ log_interval: 0, ...options }),
    salt: new Secret('s'.repeat(32)),
  }
  const made = new Sanitizer(settings, {
    meter: createMeter(),
    log: pino({ level: 'silent' }),
    state: undefined as never,
  })
  await made.start()
  return made
}

function batchOf(...spans: Record<string, string | number>[]): Batch {
  const document = {
    resourceSpans: [
      {
        scopeSpans: [
          {
            spans: spans.map((values) => ({
              name: 'n',
              attributes: Object.entries(values).map(([key, value]) => ({
                key,
                value: typeof value === 'string' ? { stringValue: value } : { intValue: value },
              })),
            })),
          },
        ],
      },
    ],
  }
  return decodeJsonBatch(Buffer.from(JSON.stringify(document)), meta)
}

async function cleaned(value: string | number, options: object = {}, key = 'text'): Promise<string> {
  const batch = batchOf({ [key]: value })
  ;(await sanitizer(options)).process(batch)
  return batch.text(batch.attr(0, keyId(key)))
}

it.each([
  'cardNo=ab-cdef',
  'card_no=ab-cdef',
  'CARD_NUMBER=ab-cdef',
  '{"card no": "ab-cdef"}',
  "{'card.no': 'ab-cdef'}",
])('knows %s by its words, though `card not` is none', async (text) => {
  expect(await cleaned(text)).not.toContain('ab-cdef')
  expect(await cleaned(`${text} and the card not found`)).not.toContain('ab-cdef')
})

describe('a canary in every place', () => {
  it('is in none afterwards', async () => {
    const batch = decodeJsonBatch(
      Buffer.from(JSON.stringify(canaryDocument('5b8efff798038103d269b633813fc60c', 'eee19b7ec3c1b174'))),
      meta,
    )
    const before = batch.toJson()
    expect(before.match(/canary/gi)!.length).toBeGreaterThan(150)
    ;(await sanitizer()).process(batch)
    const after = batch.toJson()
    // Bytes are base64 in OTLP/JSON, so look at the wire as well.
    const wire = Buffer.from(batch.encode()).toString('latin1')
    expect(wire.match(/.{0,60}canary.{0,40}/gi) ?? []).toEqual([])
    expect(after.match(/nothing to see, nobody said so/g)).toHaveLength(2)
    expect(batch.number(batch.attr(0, keyId('weir.redactions')))).toBeGreaterThan(60)
  })

  it('is in no base64 either', async () => {
    const batch = batchOf({ text: `x ${Buffer.from('mail ada@example.org now').toString('base64')} y` })
    ;(await sanitizer()).process(batch)
    const text = batch.text(batch.attr(0, keyId('text')))
    expect(Buffer.from(text.split(' ')[1]!, 'base64').toString()).toBe('mail [REDACTED_EMAIL] now')
  })

  it('is not in what a later field replaced, nor in fields that are unknown', async () => {
    // Span: name twice (field 5), an unknown field 100, and a KeyValue whose value comes twice.
    const field = (number: number, bytes: Buffer): Buffer => {
      const tag = number * 8 + 2
      const head = tag < 128 ? [tag] : [(tag & 127) | 128, tag >> 7]
      return Buffer.concat([Buffer.from([...head, bytes.length]), bytes])
    }
    const string = (number: number, value: string): Buffer => field(number, Buffer.from(value))
    const span = Buffer.concat([
      string(5, 'one@example.org'),
      string(5, 'plain'),
      string(100, 'two@example.org'),
      field(
        9,
        Buffer.concat([
          string(1, 'k'),
          field(2, string(1, 'three@example.org')),
          field(2, string(1, 'plain')),
        ]),
      ),
    ])
    const batch = decodeBatch(field(1, field(2, field(2, span))), meta)
    ;(await sanitizer()).process(batch)
    expect(Buffer.from(batch.encode()).toString('latin1')).not.toContain('@example.org')
    expect(batch.name(0)).toBe('plain')
  })
})

describe('a clean batch', () => {
  it('keeps its very bytes', async () => {
    const batch = batchOf({
      'gen_ai.usage.input_tokens': 12,
      'session.id': 'b2c8',
      'gen_ai.request.model': 'gpt-4o-2024-08-06',
      note: 'order 123456789 of 2024-08-06',
    })
    const bytes = batch.encode()
    ;(await sanitizer()).process(batch)
    expect(batch.encode()).toBe(bytes)
  })
})

describe('modes', () => {
  it.each([
    ['mask', 'to [REDACTED_EMAIL].'],
    ['remove', 'to .'],
    ['full', '[REDACTED_ALL]'],
    ['none', 'to ada@example.org.'],
  ])('%s', async (mode, expected) => {
    expect(await cleaned('to ada@example.org.', { mode })).toBe(expected)
  })

  it('hash gives the same pseudonym for the same value of a tenant', async () => {
    const [one, other] = [
      await cleaned('Ada@example.org', { mode: 'hash' }),
      await cleaned('<ada@example.org>', { mode: 'hash' }),
    ]
    expect(one).toMatch(/^<EMAIL:[0-9a-f]{16}>$/)
    expect(other).toBe(`<${one}>`)
    const batch = decodeBatch(batchOf({ text: 'ada@example.org' }).encode(), { ...meta, tenant: 'other' })
    ;(await sanitizer({ mode: 'hash' })).process(batch)
    expect(batch.text(batch.attr(0, keyId('text')))).not.toBe(one)
  })

  it('are per detector and per tenant', async () => {
    const options = { detectors: { email: 'none' }, tenants: { acme: { detectors: { ip: 'remove' } } } }
    expect(await cleaned('ada@example.org 10.20.30.40 4111 1111 1111 1111', options)).toBe(
      'ada@example.org  [REDACTED_CARD]',
    )
  })
})

describe('what a span says of itself', () => {
  it('has count, paths and a hash that is equal for equal originals', async () => {
    const batch = batchOf(
      { a: 'ada@example.org' },
      { a: 'ada@example.org' },
      { a: 'bob@example.org' },
      { a: 'clean' },
    )
    ;(await sanitizer()).process(batch)
    const hash = [0, 1, 2].map((row) => batch.text(batch.attr(row, keyId('weir.redaction.hash'))))
    expect(hash[0]).toBe(hash[1])
    expect(hash[0]).not.toBe(hash[2])
    expect(batch.text(batch.attr(0, keyId('weir.redaction.paths')))).toBe('["email a 1"]')
    expect(batch.number(batch.attr(0, keyId('weir.redactions')))).toBe(1)
    expect(batch.attr(3, keyId('weir.redactions'))).toBe(-1)
  })

  it('adds up when a second weir finds more', async () => {
    const batch = batchOf({ a: 'ada@example.org', 'weir.redactions': 3 })
    ;(await sanitizer()).process(batch)
    expect(batch.number(batch.attr(0, keyId('weir.redactions')))).toBe(4)
  })

  it('finds nothing in what it wrote', async () => {
    const made = await sanitizer()
    const batch = batchOf({
      text: 'ada@example.org, password=hunter22',
      password: 'x',
      j: '{"token": "abc"}',
    })
    made.process(batch)
    const once = Buffer.from(batch.encode())
    const again = decodeBatch(once, meta)
    made.process(again)
    expect(Buffer.from(again.encode()).equals(once)).toBe(true)
  })
})

describe('dropped rows', () => {
  it('stay dropped, and edits made before stay', async () => {
    const batch = batchOf({ a: 'x' }, { a: 'ada@example.org' }, { a: 'bob@example.org' })
    batch.drop(1, 'invalid')
    batch.set(2, keyId('b'), 'eve@example.org')
    ;(await sanitizer()).process(batch)
    expect([batch.rows, batch.live, batch.isLive(1)]).toEqual([3, 2, false])
    expect(batch.text(batch.attr(2, keyId('b')))).toBe('[REDACTED_EMAIL]')
    expect(Buffer.from(batch.encode()).toString('latin1')).not.toContain('@example.org')
  })
})

describe('custom rules', () => {
  const rules = [{ name: 'case_id', pattern: 'case-(\\d{6})', ignore_case: true, keywords: ['case-'] }]
  it('replace their group', async () => {
    expect(await cleaned('see CASE-123456.', { rules })).toBe('see CASE-[REDACTED_CASE_ID].')
  })

  it('that could take more than linear time are refused', async () => {
    await expect(
      sanitizer({ rules: [{ name: 'bad', pattern: '(a)\\1', keywords: ['aaa'] }] }),
    ).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  })
})

describe('failing closed', () => {
  it('refuses a batch when anything unforeseen happens', async () => {
    const batch = batchOf({ a: 'ada@example.org' })
    batch.rewriteTexts = () => {
      throw new TypeError('about ada@example.org')
    }
    const made = await sanitizer()
    expect(() => made.process(batch)).toThrow(
      expect.objectContaining({
        code: 'SANITIZER_FAILED',
        message: expect.not.stringContaining('ada') as string,
      }),
    )
  })
})

it('refuses modes for a tenant that cannot be', () => {
  expect(config.safeParse({ tenants: { Acme: { mode: 'hash' } } }).error?.issues[0]).toMatchObject({
    path: ['tenants', 'Acme'],
  })
  expect(config.safeParse({ tenants: { acme: { mode: 'hash' } } }).success).toBe(true)
})

it('hides on each resource of a request what that one asks for', async () => {
  const of = (mark: string, spans: number) => ({
    resource: {
      attributes: Object.entries({ 'weir.redact': mark, 'host.owner': 'Ada', 'host.room': 'attic' }).map(
        ([key, stringValue]) => ({ key, value: { stringValue } }),
      ),
    },
    scopeSpans: [{ spans: Array.from({ length: spans }, () => ({ name: 'n' })) }],
  })
  const document = { resourceSpans: [of('host.owner', 2), of('host.room', 1), of('nothing', 1)] }
  const batch = decodeJsonBatch(Buffer.from(JSON.stringify(document)), meta)
  ;(await sanitizer()).process(batch)
  const read = (row: number) =>
    ['host.owner', 'host.room'].map((key) => batch.text(batch.resourceAttr(row, keyId(key))))
  expect([0, 1, 2, 3].map(read)).toEqual([
    ['[REDACTED]', 'attic'],
    ['[REDACTED]', 'attic'],
    ['Ada', '[REDACTED]'],
    ['Ada', 'attic'],
  ])
})

describe('a resource without spans', () => {
  const of = (mark: string, owner: string, scopeSpans: unknown[]) => ({
    resource: {
      attributes: Object.entries({ 'weir.redact': mark, 'host.owner': owner, 'host.room': 'attic' }).map(
        ([key, stringValue]) => ({ key, value: { stringValue } }),
      ),
    },
    scopeSpans,
  })
  const spans = [{ spans: [{ name: 'n' }] }]
  const attributes = [{ key: 'author', value: { stringValue: 'ada@example.org' } }]
  const emptyScope = [
    { scope: { name: 'by ada@example.org', attributes }, schemaUrl: '//a:pw1@b.example.org' },
  ]

  it.each([
    ['before one with spans', [of('host.owner', 'Ada', []), of('host.room', 'Bob', spans)]],
    ['behind one with spans', [of('host.room', 'Bob', spans), of('host.owner', 'Ada', [])]],
    ['with a scope', [of('host.owner', 'Ada', emptyScope), of('host.room', 'Bob', spans)]],
    ['between others', [of('host.room', 'Bob', []), of('host.owner', 'Ada', []), of('none', 'Eve', spans)]],
  ])('is judged by its own marks %s', async (_, resourceSpans) => {
    const batch = decodeJsonBatch(Buffer.from(JSON.stringify({ resourceSpans })), meta)
    ;(await sanitizer()).process(batch)
    const wire = Buffer.from(batch.encode()).toString('latin1')
    expect(wire).not.toMatch(/Ada|ada@|pw1/)
    // Who marked the room keeps the owner.
    expect(wire.match(/Bob/g)).toHaveLength(1)
    expect(wire.match(/attic/g)).toHaveLength(resourceSpans.length - 1)
  })
})
