import { loadValidators } from './index.ts'
import { expect, it } from 'vitest'
import type { Batch } from '../../pipeline/batch/batch.ts'
import { keyId } from '../../pipeline/batch/keys.ts'
import { decodeJsonBatch } from '../../pipeline/batch/otlp-batch.ts'
import { createMeter } from '../../pipeline/telemetry/prom-meter.ts'
import { config } from './config.ts'
import { Validators } from './validators.ts'
import { testMeta } from '../../test/support/batch-meta.ts'

const loaded = await loadValidators()

const VIOLATIONS = keyId('weir.violations')
const SEVERITY = keyId('weir.violation.severity')
const RULES = keyId('weir.violation.rules')

function batchOf(tenant: string, ...paths: (readonly string[])[]): Batch {
  const spans = paths.map((values) => ({
    name: 'n',
    attributes: [
      { key: 'plain', value: { stringValue: 'text' } },
      ...(values.length === 0
        ? []
        : [
            {
              key: 'weir.redaction.paths',
              value: { arrayValue: { values: values.map((stringValue) => ({ stringValue })) } },
            },
          ]),
    ],
  }))
  return decodeJsonBatch(
    Buffer.from(JSON.stringify({ resourceSpans: [{ scopeSpans: [{ spans }] }] })),
    testMeta({ tenant }),
  )
}

const meter = createMeter()
const made = (options: object) => new Validators(config.parse(options), { meter }, loaded)

const POLICY = { pii: { types: { card: 'ERROR', ip: 'NONE' }, severity: 'WARNING' } }
const SPANS = [
  [],
  ['card gen_ai.prompt 1', 'email body 2'],
  ['email gen_ai.prompt 2', 'email b 1'],
  ['ip a 1'],
]

it('rejects at the threshold, annotates below it, and leaves clean spans alone', () => {
  const batch = batchOf('default', ...SPANS)
  const outcome = made(POLICY).process(batch)
  expect(outcome).toEqual({
    rejected: [
      {
        rows: [1],
        reason: 'validators: pii.card (ERROR): 1 of kind card found',
      },
    ],
  })
  expect(batch.number(batch.attr(2, VIOLATIONS))).toBe(1)
  expect(batch.text(batch.attr(2, SEVERITY))).toBe('WARNING')
  expect(batch.text(batch.attr(2, RULES))).toBe('["pii.email"]')
  for (const clean of [0, 3]) expect(batch.attr(clean, VIOLATIONS)).toBe(-1)
})

it('judges each tenant by its own policy', () => {
  const validators = made({ ...POLICY, tenants: { acme: { threshold: 'CRITICAL', pii: {} } } })
  expect(validators.process(batchOf('other', ...SPANS))?.rejected[0]?.rows).toEqual([1])
  const acme = batchOf('acme', ...SPANS)
  expect(validators.process(acme)).toBeUndefined()
  // A block of its own stands alone: the defaults, not the policy of all.
  expect([1, 2, 3].map((row) => acme.text(acme.attr(row, SEVERITY)))).toEqual(['WARNING', 'INFO', 'INFO'])
})

it('counts a rule once that a weir before this one has found, and keeps the higher severity', () => {
  const validators = made(POLICY)
  const first = batchOf('default', ['email a 1'])
  first.set(0, RULES, ['pii.email', 'policy.no_model'])
  first.set(0, keyId('weir.violation.severities'), ['INFO', 'CRITICAL'])
  validators.process(first)
  expect(first.number(first.attr(0, VIOLATIONS))).toBe(2)
  expect(first.text(first.attr(0, SEVERITY))).toBe('CRITICAL')
})

it('says what it found though a sender has filled the lists', () => {
  const batch = batchOf('default', ['email a 1'])
  batch.set(
    0,
    RULES,
    Array.from({ length: 40 }, (_, index) => `policy.rule_${index}`),
  )
  made(POLICY).process(batch)
  expect(JSON.parse(batch.text(batch.attr(0, RULES)))).toContain('pii.email')
})

it('leaves a validator out that is not enabled', () => {
  const batch = batchOf('default', ...SPANS)
  expect(made({ pii: { enabled: false } }).process(batch)).toBeUndefined()
  expect(batch.attr(1, VIOLATIONS)).toBe(-1)
})

it('tells apart what is valid config', () => {
  expect(config.safeParse({ pii: { typo: 1 } }).success).toBe(false)
  expect(config.safeParse({ tenants: { a: { unknown: {} } } }).success).toBe(false)
  expect(config.safeParse({ tenants: { Acme: {} } }).success).toBe(false)
})
