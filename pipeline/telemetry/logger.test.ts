import { describe, expect, it } from 'vitest'
import { reject } from '../fault.ts'
import { Secret } from '../secret.ts'
import { componentLog, createLogger } from './logger.ts'

const CANARY = 'c4n4ry-do-not-print'

function capture(encoding: 'json' | 'console', level: 'debug' | 'info' = 'info') {
  const lines: string[] = []
  const log = createLogger({
    level,
    encoding,
    resource: { 'service.name': 'weir' },
    destination: { write: (line: string) => void lines.push(line) },
  })
  return { log, lines }
}

describe('logger', () => {
  it("writes JSON lines in the collector's fields", () => {
    const { log, lines } = capture('json')
    componentLog(log, 'otlp/x', 'receiver', 'traces').info({ port: 4317 }, 'Everything is ready.')
    expect(lines).toHaveLength(1)
    const { ts, ...line } = JSON.parse(lines[0] ?? '') as Record<string, unknown>
    expect(new Date(String(ts)).toISOString()).toBe(ts)
    expect(line).toEqual({
      level: 'info',
      msg: 'Everything is ready.',
      resource: { 'service.name': 'weir' },
      'otelcol.component.id': 'otlp/x',
      'otelcol.component.kind': 'receiver',
      'otelcol.signal': 'traces',
      port: 4317,
    })
  })

  it('honours the level', () => {
    const { log, lines } = capture('json')
    log.debug('quiet')
    expect(lines).toEqual([])
  })

  it.each(['json', 'console'] as const)(
    'keeps one event on one line and no control character (%s)',
    (encoding) => {
      const { log, lines } = capture(encoding)
      log.warn({ peer: 'a\r\nb\u001b[2J\u009b31m\u202e' }, 'x\ny\u001b[31m\u2028z')
      const text = lines.join('')
      expect(text.trimEnd().split(/[\r\n\u2028]/)).toHaveLength(1)
      if (encoding === 'console') {
        // oxlint-disable-next-line no-control-regex -- that is the promise
        expect(text.trimEnd()).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202e]/)
      }
      expect(text).not.toContain('\u001b')
    },
  )

  it.each(['json', 'console'] as const)('never prints a secret (%s)', (encoding) => {
    const { log, lines } = capture(encoding)
    log.info(
      { secret: CANARY, nested: { api_key: CANARY, 'x-api-key': CANARY, list: [{ Password: CANARY }] } },
      'a',
    )
    log.info({ config: new Secret(CANARY), headers: { Authorization: `Bearer ${CANARY}` } }, 'b')
    log.info(`GET with Bearer ${CANARY} from http://user:${CANARY}@host/`)
    log.info('weir_live_ab12_' + CANARY)
    log.child({ token: CANARY }).info('c')
    log.error({ error: reject('UNAUTHENTICATED', `header was Bearer ${CANARY}`) }, 'd')
    log.error(new Error(`Basic ${CANARY}`))
    expect(lines).toHaveLength(7)
    expect(lines.join('')).not.toContain(CANARY)
    expect(lines.join('')).toContain('[REDACTED]')
  })

  it('shows a fault by code and message, a bug with its stack', () => {
    const { log, lines } = capture('json')
    log.error({ error: reject('WAL_FULL', 'full', { cause: new Error('disk') }) }, 'a')
    log.error({ error: new TypeError('bug') }, 'b')
    const [fault, bug] = lines.map((line) => (JSON.parse(line) as { error: Record<string, unknown> }).error)
    expect(fault).toMatchObject({
      type: 'Fault',
      code: 'WAL_FULL',
      message: 'full',
      cause: { message: 'disk' },
    })
    expect(fault).not.toHaveProperty('stack')
    expect(bug?.['stack']).toContain('TypeError: bug')
  })
})
