import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { configFolder } from '../test/support/config-files.ts'
import { runCli, VERBS } from './cli.ts'

interface Answer {
  readonly code: number
  readonly out: string
  readonly err: string
}

async function weir(argv: string[], env: Record<string, string> = {}): Promise<Answer> {
  const written = { out: '', err: '' }
  const code = await runCli(argv, {
    out: (text) => void (written.out += `${text}\n`),
    err: (text) => void (written.err += `${text}\n`),
    env,
    tty: false,
  })
  return { code, ...written }
}

const QUICKSTART = 'config/examples/quickstart.yaml'

describe('weir', () => {
  it('lists its verbs, tells its version, and exits 2 when called without one', async () => {
    const help = await weir(['--help'])
    expect(help.code).toBe(0)
    for (const { name, summary } of VERBS)
      expect(help.out).toMatch(new RegExp(`^  ${name} +${escape(summary)}$`, 'm'))
    expect((await weir(['--version'])).out).toMatch(/^weir \d+\.\d+\.\d+\n$/)
    expect(await weir([])).toMatchObject({ code: 2, out: '' })
  })

  it.each(VERBS.map((verb) => verb.name))('%s --help prints its usage', async (name) => {
    const answer = await weir([name, '--help'])
    expect(answer).toMatchObject({ code: 0, err: '' })
    expect(answer.out).toContain(`weir ${name}`)
    expect((await weir(['help', name])).out).toBe(answer.out)
  })

  it('prints the help of the one thing that was asked for', async () => {
    const { out } = await weir(['replay', 'run', '--help'])
    expect(out).toContain('Usage: weir replay run')
    expect(out).not.toContain('Usage: weir replay pipeline')
    expect(await weir(['help', 'replay', 'run'])).toMatchObject({ code: 0, out })
    expect((await weir(['replay', '--help'])).out).toContain('Usage: weir replay pipeline')
  })

  it('knows what was meant, and what a later version brings', async () => {
    expect(await weir(['valdate'])).toEqual({
      code: 2,
      out: '',
      err: 'weir: there is no verb "valdate"; did you mean "validate"?\nRun "weir --help" for the verbs.\n',
    })
    expect((await weir(['doctor'])).err).toMatch(/^weir: "doctor" is not built into this version yet$/m)
  })

  it.each([
    [['validate', '--confg', 'x'], /^weir validate: Unknown option '--confg'/],
    [['validate'], /^weir validate: validate needs --config FILE/],
    [['validate', QUICKSTART], /^weir validate: validate takes flags only, not "config\/examples/],
    [['print-config', '--config', QUICKSTART, '--mode', 'x'], /--mode is redacted or unredacted/],
    [['print-config', '--config', QUICKSTART, '--format', 'x'], /--format is yaml or json/],
    [['components', 'x'], /components takes flags only/],
  ])('%j is a wrong call: exit code 2, what was wrong, and where to look', async (argv, message) => {
    const answer = await weir(argv)
    expect(answer).toMatchObject({ code: 2, out: '' })
    expect(answer.err).toMatch(message)
    expect(answer.err).toContain(`Run "weir ${argv[0] ?? ''} --help" for its flags.`)
  })
})

describe('validate', () => {
  it('says valid, with notices on stderr', async () => {
    const folder = configFolder({ 'more.yaml': 'exporters: { stdout: {} }\n' })
    const more = join(folder, 'more.yaml')
    const answer = await weir(['validate', '--config', QUICKSTART, '--config', more])
    expect(answer.code).toBe(0)
    expect(answer.out).toMatch(/^valid: 2 pipelines, digest [0-9a-f]{12}\n$/)
    expect(answer.err).toBe(
      `notice: ${more}:1:14 exporters.stdout: is defined but not started: no pipeline names it\n`,
    )
  })

  it('prints all errors, exit code 1, as text and as JSON', async () => {
    const folder = configFolder({
      'bad.yaml': 'exporters: { clickhouse: { ttll: 1 } }\nextensions: { apy: {} }\n',
    })
    const bad = join(folder, 'bad.yaml')
    const argv = ['validate', '--config', QUICKSTART, '--config', bad]
    expect(await weir(argv)).toEqual({
      code: 1,
      out: '',
      err: `${bad}:1:28 exporters.clickhouse.ttll: unknown key "ttll"; did you mean "ttl"?
${bad}:2:15 extensions.apy: unknown extension type "apy"; did you mean "api"?
`,
    })
    const json = await weir([...argv, '--json'])
    expect(json).toMatchObject({ code: 1, err: '' })
    expect(JSON.parse(json.out)).toMatchObject({
      valid: false,
      errors: [
        { file: bad, line: 1, col: 28, path: 'exporters.clickhouse.ttll' },
        { file: bad, line: 2, col: 15, path: 'extensions.apy' },
      ],
      notices: [],
    })
  })
})

describe('validate of a receiver in several pipelines', () => {
  const errors = async (first: string, second: string): Promise<string> => {
    const folder = configFolder({
      'two.yaml': `receivers: { otlp: { protocols: { http: {} } } }
processors: { auth: {}, auth/other: { methods: [mtls] }, limits: {} }
exporters: { stdout: {} }
service:
  pipelines:
    traces/a: { receivers: [otlp], processors: [${first}], exporters: [stdout] }
    traces/b: { receivers: [otlp], processors: [${second}], exporters: [stdout] }
`,
    })
    const { err } = await weir(['validate', '--config', join(folder, 'two.yaml')])
    return err.replaceAll(/^notice: .*\n/gm, '')
  }

  it.each([
    ['', 'auth'],
    ['auth', ''],
    ['auth', 'auth/other'],
  ])('refuses [%s] beside [%s]: the first would admit for both', async (first, second) => {
    expect(await errors(first, second)).toMatch(/two\.yaml:7:29 service.*"otlp" asks its senders/)
  })

  it.each([
    ['', 'limits'],
    ['auth', 'auth, limits'],
  ])('takes [%s] beside [%s]', async (first, second) => {
    expect(await errors(first, second)).toBe('')
  })
})

describe('validate --connect', () => {
  const sets = (folder: string): string[] => [
    `connectors.wal.directory=${folder}/wal`,
    `extensions.state.directory=${folder}/state`,
  ]
  const argv = (config: string, folder: string, ...more: string[]): string[] =>
    ['validate', '--config', config, '--connect', '--json'].concat(
      [...sets(folder), ...more].flatMap((set) => ['--set', set]),
    )

  it('reaches what is there, and leaves it as it was', async () => {
    const folder = configFolder({
      'stdout.yaml': `receivers: { otlp: { protocols: { grpc: } } }
connectors: { wal: { driver: embedded } }
exporters: { stdout: }
extensions: { state: }
service:
  extensions: [state]
  pipelines:
    traces/in: { receivers: [otlp], exporters: [wal] }
    traces/out: { receivers: [wal], exporters: [stdout] }
`,
    })
    for (const _ of [1, 2]) {
      const answer = await weir(argv(join(folder, 'stdout.yaml'), folder))
      expect(JSON.parse(answer.out)).toMatchObject({
        valid: true,
        connections: [
          { component: 'extensions.state', ok: true },
          { component: 'connectors.wal', ok: true },
          { component: 'exporters.stdout', ok: true },
        ],
      })
      expect(answer.code).toBe(0)
    }
  })

  it('names each one that is not there', async () => {
    const folder = configFolder({})
    const answer = await weir(
      argv('config/examples/sidecar.yaml', folder, 'exporters.clickhouse.endpoint=http://127.0.0.1:1'),
    )
    expect(answer.code).toBe(1)
    expect(JSON.parse(answer.out)).toMatchObject({
      valid: false,
      errors: [],
      connections: [
        { component: 'extensions.state', ok: true },
        { component: 'connectors.wal', ok: true },
        { component: 'exporters.clickhouse', ok: false, code: 'START_FAILED' },
      ],
    })
  })
})

describe('print-config', () => {
  it('prints YAML that loads again, and JSON that says the same', async () => {
    const folder = configFolder({})
    const yaml = await weir(['print-config', '--config', QUICKSTART, '--set', 'exporters.clickhouse.ttl=1h'])
    expect(yaml.code).toBe(0)
    expect(yaml.out).toContain('ttl: 1h')
    expect(yaml.out).toContain('endpoint: 127.0.0.1:4317')
    const json = await weir([
      'print-config',
      '--config',
      QUICKSTART,
      '--set',
      'exporters.clickhouse.ttl=1h',
      '--json',
    ])
    expect(JSON.parse(json.out)).toEqual(parse(yaml.out))
    const again = join(folder, 'again.yaml')
    writeFileSync(again, yaml.out)
    expect(await weir(['validate', '--config', again])).toMatchObject({ code: 0, err: '' })
  })

  it('redacts what the real components call secret', async () => {
    const argv = ['print-config', '--config', 'config/examples/gateway.yaml']
    const env = { WEIR_CLICKHOUSE_PASSWORD: 'hunter2', WEIR_NATS: 'nats://me:hunter2@127.0.0.1:4222' }
    expect((await weir(argv, env)).out).not.toContain('hunter2')
    expect((await weir([...argv, '--mode', 'unredacted'], env)).out).toContain('hunter2')
  })
})

describe('components and schema', () => {
  it('print what is built in, as YAML and as JSON', async () => {
    const yaml = await weir(['components'])
    const json = await weir(['components', '--json'])
    expect(parse(yaml.out)).toEqual(JSON.parse(json.out))
    expect(JSON.parse(json.out)).toMatchObject({ connectors: [{ type: 'wal' }] })
  })

  it('print a JSON Schema that knows every component by each of its names', async () => {
    const { out } = await weir(['schema'])
    const schema = JSON.parse(out) as { properties: Record<string, { patternProperties?: object }> }
    const patterns = Object.keys(schema.properties['exporters']?.patternProperties ?? {})
    const isKnown = (id: string): boolean => patterns.some((pattern) => new RegExp(pattern).test(id))
    expect(['clickhouse', 'stdout', 'debug', 'clickhouse/b'].every(isKnown)).toBe(true)
    expect(isKnown('clickhose')).toBe(false)
  })
})

function escape(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
}
