import { describe, expect, it } from 'vitest'
import { testBatch } from '../../test/contract/exporter.ts'
import { config } from './config.ts'
import { SpanRules } from './spans.ts'

const rules = (span: object = {}) => new SpanRules(config.parse({ span }).span)
const text = (key: string, length: number) => ({ key, value: { stringValue: 'x'.repeat(length) } })
const many = (count: number, key = (i: number) => `k${i}`) =>
  Array.from({ length: count }, (_, i) => ({ key: key(i), value: { intValue: String(i) } }))
const rule = (span: object, resource?: unknown): string | undefined => {
  const batch = resource === undefined ? testBatch([span as never]) : testBatch([span as never], {}, resource)
  return rules().check(batch).get(0)?.rule
}

const KIB = 1024

describe('a span', () => {
  it.each<[string, object, string | undefined]>([
    ['of 128 attributes', { attributes: many(128) }, undefined],
    ['of 129 attributes', { attributes: many(129) }, 'max_attributes'],
    [
      'with numbered messages',
      { attributes: many(300, (i) => `llm.input_messages.${i}.message.role`) },
      undefined,
    ],
    [
      'with numbered messages without end',
      { attributes: many(2049, (i) => `llm.input_messages.${i}.message.role`) },
      'max_attributes',
    ],
    ['of 64 KiB in an attribute', { attributes: [text('note', 64 * KIB)] }, undefined],
    ['of more in an attribute', { attributes: [text('note', 64 * KIB + 1)] }, 'max_attribute_bytes'],
    ['of 512 KiB of messages', { attributes: [text('gen_ai.input.messages', 512 * KIB)] }, undefined],
    ['of more messages', { attributes: [text('gen_ai.input.messages', 512 * KIB + 1)] }, 'max_payload_bytes'],
    ['of a larger toon payload', { attributes: [text('toon.payload', 600 * KIB)] }, 'max_payload_bytes'],
    [
      'of over 1 MiB in all',
      { attributes: [0, 1, 2].map((i) => text(`gen_ai.prompt.${i}`, 400 * KIB)) },
      'max_bytes',
    ],
    ['of 128 events', { events: many(128).map(({ key }) => ({ name: key })) }, undefined],
    ['of 129 events', { events: many(129).map(({ key }) => ({ name: key })) }, 'max_events'],
    [
      'of 129 links',
      { links: many(129).map(() => ({ traceId: '0'.repeat(31) + '1', spanId: '0'.repeat(15) + '1' })) },
      'max_links',
    ],
    ['with an event of 129 attributes', { events: [{ name: 'e', attributes: many(129) }] }, 'max_attributes'],
    [
      'with an event of a large attribute',
      { events: [{ name: 'e', attributes: [text('a', 70 * KIB)] }] },
      'max_attribute_bytes',
    ],
    [
      'with a link of a large attribute',
      {
        links: [
          { traceId: '0'.repeat(31) + '1', spanId: '0'.repeat(15) + '1', attributes: [text('a', 70 * KIB)] },
        ],
      },
      'max_attribute_bytes',
    ],
  ])('%s', (_, span, wanted) => expect(rule(span)).toBe(wanted))
})

it('is over a limit when its resource is', () => {
  expect(rule({}, { attributes: many(129) })).toBe('max_attributes')
  expect(rule({}, { attributes: [text('service.name', 70 * KIB)] })).toBe('max_attribute_bytes')
})

it('names the field, whatever it is called, without moving a terminal’s cursor', () => {
  const batch = testBatch([{ attributes: [text('evil\n\u001b[2J', 70 * KIB)] }])
  expect(rules().check(batch).get(0)?.reason).toBe(
    'limits: span attribute "evil\\n\\x1b[2J" has more than 65536 bytes (span.max_attribute_bytes)',
  )
})
