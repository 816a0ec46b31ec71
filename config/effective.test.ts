import { describe, expect, it } from 'vitest'
import { around, configOf } from '../test/support/config-files.ts'
import { sampleRegistry } from '../test/support/sample-registry.ts'
import { effectiveConfig } from './effective.ts'
import { withoutUserinfo } from '../pipeline/input/redact.ts'

const BLOCK = `  store:
    endpoint: https://me:hunter2@db:9000/x
    password: \${env:PASSWORD}
    headers: { Authorization: Bearer hunter2, x-api-key: hunter2, key_file: /etc/key, plain: text }
    ttl: 1h`
const loaded = () => configOf({ files: { 'a.yaml': around(BLOCK) }, env: { PASSWORD: 'hunter2' } }).config.raw

describe('the effective config', () => {
  it('has the defaults in the form a user writes, nested and by alternative', () => {
    expect(effectiveConfig(loaded(), sampleRegistry, 'unredacted')).toMatchObject({
      receivers: {
        tcp: { protocols: { grpc: { endpoint: '127.0.0.1:4317', max_size: '4MiB', timeout: '5s' } } },
      },
      connectors: { journal: { driver: 'embedded', directory: './data/wal' } },
      exporters: { store: { ttl: '1h', retries: 3, compress: 'lz4', password: 'hunter2' } },
      service: { shutdown_timeout: '10s', telemetry: { logs: { level: 'info', encoding: 'console' } } },
    })
  })

  it('brings only the defaults of the driver that was chosen', () => {
    const text = around('  store: {}').replace('driver: embedded', 'driver: cluster, servers: [a]')
    const { raw } = configOf({ files: { 'a.yaml': text } }).config
    expect(effectiveConfig(raw, sampleRegistry, 'redacted')).toHaveProperty('connectors.journal', {
      driver: 'cluster',
      servers: ['a'],
      replicas: 1,
    })
  })

  it('is a config again, with the same meaning', () => {
    const shown = effectiveConfig(loaded(), sampleRegistry, 'unredacted')
    const again = configOf({ files: { 'b.yaml': JSON.stringify(shown) } }).config
    const first = configOf({ files: { 'a.yaml': around(BLOCK) }, env: { PASSWORD: 'hunter2' } }).config
    expect(JSON.stringify(again.exporters.get('store')?.value)).toBe(
      JSON.stringify(first.exporters.get('store')?.value),
    )
    expect(again.service).toEqual(first.service)
  })

  it('hides secrets by schema, by the name of the key, and in URLs, and nothing else', () => {
    const shown = effectiveConfig(loaded(), sampleRegistry, 'redacted')
    expect(JSON.stringify(shown)).not.toContain('hunter2')
    expect(shown).toHaveProperty('exporters.store', {
      endpoint: 'https://[REDACTED]@db:9000/x',
      password: '[REDACTED]',
      headers: {
        Authorization: '[REDACTED]',
        'x-api-key': '[REDACTED]',
        key_file: '/etc/key',
        plain: 'text',
      },
      ttl: '1h',
      directory: './data/store',
      retries: 3,
      create: true,
      compress: 'lz4',
      columns: [],
    })
  })
})

describe('userinfo', () => {
  it.each([
    ['nats://token@h:4222', 'nats://[REDACTED]@h:4222'],
    ['http://a:b@c,http://d:e@f', 'http://[REDACTED]@c,http://[REDACTED]@f'],
    ['tcp://u:p@ss@h:1/db?x=a@b', 'tcp://[REDACTED]@h:1/db?x=a@b'],
    ['http://host/path@x', 'http://host/path@x'],
    ['me@example.com', 'me@example.com'],
  ])('%s', (text, expected) => {
    expect(withoutUserinfo(text)).toBe(expected)
  })
})
