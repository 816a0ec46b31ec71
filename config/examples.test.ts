import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { registry } from '../cmd/registry.ts'
import { formatErrors, loadConfig } from './load.ts'
import { parseResolved } from './resolved.ts'

const folder = fileURLToPath(new URL('./examples/', import.meta.url))
const examples = readdirSync(folder)
/** What has no default. */
const NEEDED = { WEIR_MASTER_KEY: '11'.repeat(32) }

describe('example configs', () => {
  it('are those of the documentation', () => {
    expect(examples.sort()).toEqual(['agents.yaml', 'gateway.yaml', 'quickstart.yaml', 'sidecar.yaml'])
  })

  it.each(examples)('%s loads without errors or notices, and again in another process', (name) => {
    const result = loadConfig({ files: [folder + name], sets: [], env: NEEDED }, registry)
    if (!result.ok) throw new Error(formatErrors(result.errors))
    expect(result.notices).toEqual([])
    expect(parseResolved(JSON.parse(JSON.stringify(result.config.raw)), registry).digest).toBe(
      result.config.digest,
    )
  })

  it.each(examples)('%s takes every address and folder from outside', (name) => {
    const text = readFileSync(folder + name, 'utf8')
    const variables = [...text.matchAll(/\$\{env:(\w+):-/g)].map((match) => match[1] ?? '')
    expect(variables).toContain('WEIR_OTLP_GRPC')
    const env = {
      ...NEEDED,
      WEIR_OTLP_GRPC: '127.0.0.1:0',
      WEIR_OTLP_HTTP: '127.0.0.1:0',
      WEIR_TOON: '127.0.0.1:0',
      WEIR_HEALTH: '127.0.0.1:0',
      WEIR_API: '127.0.0.1:0',
      WEIR_METRICS_PORT: '0',
      WEIR_DATA: '/tmp/elsewhere',
      WEIR_NATS: 'nats://127.0.0.1:1',
    }
    const result = loadConfig({ files: [folder + name], sets: [], env }, registry)
    if (!result.ok) throw new Error(formatErrors(result.errors))
    const raw = JSON.stringify(result.config.raw)
    for (const fixed of ['4317', '4318', '4319', '4320', '13133', '8888', '4222', './data']) {
      expect(raw).not.toContain(fixed)
    }
  })
})
