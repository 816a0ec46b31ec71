import { join } from 'node:path'
import { expect, it } from 'vitest'
import { registry } from '../../cmd/registry.ts'
import { formatError, loadConfig } from '../../config/load.ts'
import { configFolder } from '../support/config-files.ts'

function errorsOf(sampling: string, pipelines: string): string[] {
  const text = `receivers: { otlp: { protocols: { http: { endpoint: '127.0.0.1:0' } } } }
processors: { sampling: ${sampling}, sampling/two: ${sampling} }
connectors: { wal: { driver: embedded } }
exporters: { stdout: {} }
service: { pipelines: ${pipelines} }
`
  const file = join(configFolder({ 'a.yaml': text }), 'a.yaml')
  const result = loadConfig({ files: [file], sets: [], env: {} }, registry)
  return result.ok ? [] : result.errors.map((error) => formatError(error).replace(file, 'a.yaml'))
}

const TAIL = '{ policies: [{ name: all, type: always_sample }] }'
const around = (ingest: string, store: string) =>
  `{ traces/in: { receivers: [otlp], processors: [${ingest}], exporters: [wal] }, traces/out: { receivers: [wal], processors: [${store}], exporters: [stdout] } }`

it('takes tail sampling behind a WAL, and head sampling anywhere', () => {
  expect(errorsOf(TAIL, around('', 'sampling'))).toEqual([])
  expect(errorsOf('{ sampling_percentage: 10 }', around('sampling', 'sampling/two'))).toEqual([])
  expect(
    errorsOf(
      '{ sampling_percentage: 10 }',
      '{ traces: { receivers: [otlp], processors: [sampling], exporters: [stdout] } }',
    ),
  ).toEqual([])
})

it('refuses tail sampling without a WAL before it, and two in a pipeline, at their place', () => {
  const [only, ...none] = errorsOf(TAIL, around('sampling', ''))
  expect(only).toMatch(/^a\.yaml:5:\d+ .*processors\[0\].*needs a pipeline whose receiver is one/)
  expect(none).toEqual([])
  expect(errorsOf(TAIL, around('', 'sampling, sampling/two'))).toEqual([
    expect.stringMatching(/processors\[1\].*put the policies of both into one/),
  ])
})

it('says what a policy lacks or has too much, and that nothing would be sampled', () => {
  const errors = (policy: string) => errorsOf(`{ policies: [${policy}] }`, around('', 'sampling'))
  expect(errors('{ name: a, type: latency }')[0]).toContain('needs the key latency')
  expect(errors('{ name: a, type: cost, cost: { min_usd: 1 }, latency: { threshold_ms: 1 } }')[0]).toContain(
    'a policy of type cost has no latency',
  )
  expect(errors('{ name: a, type: ottl_condition }')[0]).toContain('type')
  expect(errorsOf('{}', around('', 'sampling'))[0]).toContain('samples nothing')
})
