import { describe, expect, it } from 'vitest'
import { parseResolved } from './resolved.ts'
import { around, configOf, errorsOf } from '../test/support/config-files.ts'
import { sampleRegistry } from '../test/support/sample-registry.ts'

const GOOD = around('  store: {}')

/** The store's value after loading a config with this block. */
function storeOf(
  block: string,
  env: Record<string, string> = {},
  sets: string[] = [],
): Record<string, unknown> {
  const { config } = configOf({ files: { 'a.yaml': around(`  store:\n${block}`) }, env, sets })
  return config.exporters.get('store')?.value as Record<string, unknown>
}

describe('a good config', () => {
  it('has validated values with defaults, resolved pipelines and service settings', () => {
    const { config, notices } = configOf({ files: { 'a.yaml': GOOD } })
    expect(notices).toEqual([])
    expect(config.exporters.get('store')?.value).toMatchObject({ endpoint: 'embedded', ttl: 0, retries: 3 })
    expect(config.receivers.get('tcp')?.value).toMatchObject({
      protocols: { grpc: { max_size: 4 * 1024 * 1024, timeout: 5000 } },
    })
    expect([...config.service.pipelines.values()]).toEqual([
      { id: 'traces/in', signal: 'traces', receivers: ['tcp'], processors: [], exporters: ['journal'] },
      { id: 'traces/out', signal: 'traces', receivers: ['journal'], processors: [], exporters: ['store'] },
    ])
    expect(config.service).toMatchObject({
      extensions: [],
      shutdownTimeoutMs: 10_000,
      telemetry: {
        logs: { level: 'info', encoding: 'console' },
        metrics: { level: 'normal', endpoints: ['127.0.0.1:8888'] },
        traces: undefined,
        resource: {},
      },
    })
  })

  it('crosses to another process as JSON and comes out equal', () => {
    const { config } = configOf({
      files: { 'a.yaml': around('  store: { password: "${env:PASS}", ttl: 1h, directory: "${env:DIR}" }') },
      env: { PASS: '0123', DIR: '007' },
    })
    const again = parseResolved(JSON.parse(JSON.stringify(config.raw)), sampleRegistry)
    expect(again.digest).toBe(config.digest)
    expect(again.exporters.get('store')).toEqual(config.exporters.get('store'))
    expect(again.service).toEqual(config.service)
  })

  it('refuses a document of another version with CONFIG_INVALID', () => {
    expect(() => parseResolved({ receivers: { new_one: {} } }, sampleRegistry)).toThrow(
      'the config from the main process is not valid here: receivers.new_one: unknown receiver type "new_one"',
    )
  })

  it('has a digest and component keys that do not depend on the order of keys', () => {
    const one = configOf({ files: { 'a.yaml': around('  store: { ttl: 1h, retries: 1 }') } }).config
    const two = configOf({ files: { 'a.yaml': around('  store: { retries: 1, ttl: 1h }') } }).config
    const three = configOf({ files: { 'a.yaml': around('  store: { retries: 2, ttl: 1h }') } }).config
    expect(two.digest).toBe(one.digest)
    expect(two.exporters.get('store')?.key).toBe(one.exporters.get('store')?.key)
    expect(three.digest).not.toBe(one.digest)
    expect(three.exporters.get('store')?.key).not.toBe(one.exporters.get('store')?.key)
    expect(three.receivers.get('tcp')?.key).toBe(one.receivers.get('tcp')?.key)
  })

  it('keeps the id as written where the type is an alias', () => {
    const text = GOOD.replaceAll('store', 'old_store/main')
    const { config } = configOf({ files: { 'a.yaml': text } })
    expect(config.exporters.get('old_store/main')).toMatchObject({ id: 'old_store/main', type: 'store' })
  })

  it('may have a byte order mark, CRLF line ends, anchors and several empty layers', () => {
    const text = `\uFEFF${around('  store: &s { ttl: 1h }\n  store/b: *s')}`.replaceAll('\n', '\r\n')
    const { config, notices } = configOf({ files: { 'a.yaml': text, 'b.yaml': '', 'c.yaml': '# nothing\n' } })
    expect(config.exporters.get('store/b')?.value).toMatchObject({ ttl: 3_600_000 })
    expect(notices).toHaveLength(1)
  })
})

describe('nulls', () => {
  it('mean all defaults where a map is wanted, absent elsewhere', () => {
    const { config } = configOf({
      files: {
        'a.yaml': GOOD.replace('tcp:\n', 'tcp: { protocols: { grpc: { endpoint: "[::1]:0" }, http: } }\n'),
      },
    })
    expect(config.receivers.get('tcp')?.value).toMatchObject({
      protocols: { grpc: { timeout: 5000 }, http: { timeout: 5000 } },
    })
    expect(storeOf('    retries:\n    username: null')).toMatchObject({ retries: 3 })
  })
})

describe('several files', () => {
  it('merges maps deeply, replaces lists, and lets the later file win', () => {
    const { config } = configOf({
      files: {
        'a.yaml': around('  store: { ttl: 1h, retries: 1, columns: [{ name: a }, { name: b }] }'),
        'b.yaml': 'exporters: { store: { retries: 2, columns: [{ name: c }] } }\n',
      },
    })
    expect(config.exporters.get('store')?.value).toMatchObject({
      ttl: 3_600_000,
      retries: 2,
      columns: [{ name: 'c' }],
    })
  })

  it('erases a map by a later null, but not by {}', () => {
    const files = { 'a.yaml': around('  store: { retries: 1 }\n  print: {}') }
    const kept = configOf({ files: { ...files, 'b.yaml': 'exporters: { store: {} }' } })
    expect(kept.config.exporters.get('store')?.value).toMatchObject({ retries: 1 })
    const erased = configOf({ files: { ...files, 'b.yaml': 'exporters: { store: null }' } })
    expect(erased.config.exporters.get('store')?.value).toMatchObject({ retries: 3 })
    expect(errorsOf({ files: { ...files, 'b.yaml': 'exporters:\n' } })).toEqual([
      'a.yaml:11:53 service.pipelines.traces/out.exporters[0]: no exporter "store" is defined under exporters or connectors; defined: journal',
    ])
  })

  it('does not resolve what a later file replaces', () => {
    const { config } = configOf({
      files: {
        'a.yaml': around('  store: { directory: "${env:UNSET}" }'),
        'b.yaml': 'exporters: { store: { directory: ./b } }',
      },
    })
    expect(config.exporters.get('store')?.value).toMatchObject({ directory: './b' })
  })

  it('says which file an error is in', () => {
    const files = {
      'a.yaml': around('  store: { retries: 1 }'),
      'b.yaml': 'exporters:\n  store:\n    retries: x\n',
    }
    expect(errorsOf({ files })).toEqual([
      'b.yaml:3:14 exporters.store.retries: must be a number, got a string ("x")',
    ])
  })

  it('says what is wrong with a file', () => {
    expect(
      errorsOf({
        files: {
          'list.yaml': '- a\n',
          'latin.yaml': new Uint8Array([0x61, 0x3a, 0xe9]),
          'big.yaml': 'x'.repeat(1_048_577),
        },
        load: ['list.yaml', 'latin.yaml', 'big.yaml', 'none.yaml', '.'],
      }),
    ).toEqual([
      'list.yaml:1:1: a config is a map with receivers, exporters, service, …',
      'latin.yaml: is not UTF-8 text',
      'big.yaml: is larger than 1024 KiB',
      'none.yaml: does not exist',
      expect.stringMatching(/: is a directory$/),
    ])
  })
})

describe('references', () => {
  it('are read as YAML, but a string-typed field keeps the text', () => {
    const env = { N: '7', B: 'false', D: '0123', T: '1h', YES: 'true', EMPTY: '', QUOTED: '"x"' }
    const store = storeOf(
      '    retries: ${env:N}\n    create: ${B}\n    directory: ${env:D}\n    ttl: ${env:T}\n    username: ${env:YES}\n    endpoint: ${env:EMPTY}\n    headers: { a: "${env:QUOTED}" }',
      env,
    )
    expect(store).toMatchObject({
      retries: 7,
      create: false,
      directory: '0123',
      ttl: 3_600_000,
      username: 'true',
      endpoint: '',
      headers: { a: '"x"' },
    })
  })

  it('stay text inside of other text', () => {
    expect(
      storeOf('    endpoint: http://${env:HOST}:${env:PORT}/', { HOST: '10', PORT: '08123' }),
    ).toMatchObject({
      endpoint: 'http://10:08123/',
    })
  })

  it('take the default only when unset, as the collector does', () => {
    const block = '    directory: ${env:D:-./else}\n    retries: ${env:R:-5}\n    username: ${env:U:-}'
    expect(storeOf(block, {})).toMatchObject({ directory: './else', retries: 5, username: '' })
    expect(storeOf(block, { D: '', R: '1', U: 'u' })).toMatchObject({
      directory: '',
      retries: 1,
      username: 'u',
    })
  })

  it('leave away an empty secret, which cannot be empty', () => {
    expect(storeOf('    password: ${env:P:-}')).not.toHaveProperty('password')
    expect(storeOf('    password: ${env:P:-}', { P: '01' })).toHaveProperty('password')
  })

  it('may be nested, in the name and in the default', () => {
    const block = '    directory: ${env:${env:WHICH}}\n    username: ${env:NO:-${env:ALSO_NO:-last}}'
    expect(storeOf(block, { WHICH: 'ONE', ONE: '1' })).toMatchObject({ directory: '1', username: 'last' })
  })

  it('are escaped by $$; other dollars are text', () => {
    expect(storeOf('    directory: $${env:X} $$$$ $1 a$', {})).toMatchObject({
      directory: '${env:X} $$ $1 a$',
    })
  })

  it('leave fetched text alone: a password may hold anything', () => {
    const password = 'p$$a${env:NO}: [x'
    const { config } = configOf({
      files: { 'a.yaml': around('  store: { username: "${env:P}" }') },
      env: { P: password },
    })
    expect(config.exporters.get('store')?.value).toMatchObject({ username: password })
  })

  it('fetch files without their last newline, as text or as a piece of config', () => {
    const { config } = configOf({
      files: {
        'a.yaml': around(
          '  store:\n    username: ${file:<folder>/name}\n    headers: ${file:<folder>/headers.yaml}',
        ),
        name: '007\n',
        'headers.yaml': 'a: ${env:A}\nb: two\n',
      },
      load: ['a.yaml'],
      env: { A: '1' },
    })
    expect(config.exporters.get('store')?.value).toMatchObject({
      username: '007',
      headers: { a: '1', b: 'two' },
    })
  })

  it('keep multi-line file text where a string is wanted', () => {
    const pem = '-----BEGIN KEY-----\nProc-Type: 4,ENCRYPTED\n\nabc\n-----END KEY-----'
    const { config } = configOf({
      files: { 'a.yaml': around('  store: { username: "${file:<folder>/key.pem}" }'), 'key.pem': `${pem}\n` },
      load: ['a.yaml'],
    })
    expect(config.exporters.get('store')?.value).toMatchObject({ username: pem })
  })

  it('fail by name, all at once, and hide nothing else', () => {
    const block =
      '    directory: ${env:NOPE}\n    username: ${file:/no/such}\n    retries: ${env:TWO:-x}\n    endpoint: ${env:A-B}\n    compress: ${http://x}\n    headers: { a: "${env:OPEN" }\n    tll: 1'
    expect(errorsOf({ files: { 'a.yaml': around(`  store:\n${block}`) } })).toEqual([
      'a.yaml:7:16 exporters.store.directory: the environment variable NOPE is not set; set it or write ${env:NOPE:-default}',
      'a.yaml:8:15 exporters.store.username: the file /no/such does not exist',
      'a.yaml:9:14 exporters.store.retries: must be a number, got a string ("x")',
      'a.yaml:10:15 exporters.store.endpoint: "A-B" cannot be the name of an environment variable',
      'a.yaml:11:15 exporters.store.compress: ${http:…} is not supported; known: ${env:NAME}, ${env:NAME:-default}, ${file:PATH}',
      'a.yaml:12:19 exporters.store.headers.a: a reference ${ has no closing }; write $$ for a plain $',
      'a.yaml:13:5 exporters.store.tll: unknown key "tll"; did you mean "ttl"?',
    ])
  })

  it('are bounded: a file that includes itself ends', () => {
    expect(
      errorsOf({
        files: {
          'a.yaml': around('  store:\n    headers: ${file:<folder>/loop.yaml}'),
          'loop.yaml': 'a: ${file:<folder>/loop.yaml}\nb: ${file:<folder>/loop.yaml}\n',
        },
        load: ['a.yaml'],
      }),
    ).toEqual([
      'a.yaml:7:14 exporters.store.headers: resolves more than 100 references; does a file include itself?',
    ])
  })
})

describe('--set', () => {
  it('wins over all files, reads YAML, keeps the text of strings, and expands references', () => {
    const sets = [
      'exporters.store.retries=9',
      'exporters.store.directory=0123',
      'exporters.store.columns=[{name: z, size: 1}]',
      'exporters.store.username=${env:U}',
      'exporters::store::headers::x.y=1',
    ]
    expect(storeOf('    retries: 1', { U: 'me' }, sets)).toMatchObject({
      retries: 9,
      directory: '0123',
      columns: [{ name: 'z', size: 1 }],
      username: 'me',
      headers: { 'x.y': '1' },
    })
  })

  it('names itself in errors, without the value', () => {
    const sets = ['exporters.store.password=[hunter2', 'nothing', 'a..b=1']
    expect(errorsOf({ files: { 'a.yaml': GOOD }, sets })).toEqual([
      expect.stringMatching(/^--set exporters\.store\.password: not valid YAML: /),
      '--set nothing: must be key.path=value',
      '--set a..b: must be key.path=value',
    ])
    expect(errorsOf({ files: { 'a.yaml': GOOD }, sets: ['exporters.store.retires=1'] })).toEqual([
      '--set exporters.store.retires exporters.store.retires: unknown key "retires"; did you mean "retries"?',
    ])
  })
})
