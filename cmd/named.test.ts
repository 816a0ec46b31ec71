import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { weir } from '../test/support/weir-cli.ts'

it('leaves an exporter alone that no pipeline names, also where a receiver has its id', async () => {
  const home = await mkdtemp(join(tmpdir(), 'weir-named-'))
  try {
    const file = join(home, 'weir.yaml')
    await writeFile(
      file,
      `receivers: { otlp: { protocols: { http: {} } } }
exporters: { stdout: {}, otlp: { endpoint: 127.0.0.1:1, tls: { ca_file: none } } }
extensions: { state: { directory: ${home}/state } }
service: { extensions: [state], pipelines: { traces: { receivers: [otlp], exporters: [stdout] } } }
`,
    )
    const { code, out } = await weir('validate', '--connect', '--json', '--config', file)
    const { errors, connections } = JSON.parse(out) as {
      errors: object[]
      connections: { component: string }[]
    }
    expect(errors).toEqual([])
    expect(connections.map(({ component }) => component)).toEqual(['extensions.state', 'exporters.stdout'])
    expect(code).toBe(0)
  } finally {
    await rm(home, { recursive: true })
  }
})
