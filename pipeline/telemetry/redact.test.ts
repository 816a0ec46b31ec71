import { expect, test } from 'vitest'
import { redactText } from './redact.ts'

test('credentials in URLs go, whatever the length of the scheme', () => {
  expect(redactText('at https://u:p@host/x')).toBe('at https://[REDACTED]@host/x')
  expect(redactText(`${'x'.repeat(40)}://u:p@host`)).toBe(`${'x'.repeat(40)}://[REDACTED]@host`)
})

test.each(['x', 'a.', 'Basic ', 'a://', 'weir_a', 'sk-'])(
  '%j for a million characters takes no time',
  (text) => {
    const long = text.repeat(1_000_000 / text.length)
    const began = performance.now()
    redactText(long)
    expect(performance.now() - began).toBeLessThan(5000)
  },
)
