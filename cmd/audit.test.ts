import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { HEAD } from '../pipeline/audit/records.ts'
import { EmbeddedState } from '../pipeline/state/embedded.ts'
import { weir } from '../test/support/weir-cli.ts'

let home: string
let config: string

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'weir-audit-cli-'))
  config = join(home, 'weir.yaml')
  await writeFile(
    config,
    `receivers: { otlp: { protocols: { grpc: {} } } }
exporters: { stdout: {} }
extensions: { state: { driver: embedded, directory: ${home}/state } }
service: { extensions: [state], pipelines: { traces: { receivers: [otlp], exporters: [stdout] } } }
`,
  )
  await weir('tenant', 'create', 'acme', '--config', config)
  await weir('key', 'create', '--tenant', 'acme', '--config', config)
})
afterEach(() => rm(home, { recursive: true }))

describe('weir audit', () => {
  it('shows what verbs changed on the store itself, and who', async () => {
    const { out, code } = await weir('audit', 'query', '--action', 'key', '--json', '--config', config)
    expect(code).toBe(0)
    const { entries } = JSON.parse(out) as { entries: object[] }
    expect(entries).toMatchObject([
      {
        seq: 4,
        action: 'key.create',
        outcome: 'ok',
        tenant: 'acme',
        actor: { id: userInfo().username, kind: 'local' },
        details: { kind: 'api', roles: ['ingest'], begun: 3 },
      },
      { seq: 3, action: 'key.create', outcome: 'begun' },
    ])
    expect((await weir('audit', 'query', '--config', config)).out).toMatch(/audit\.query.*\n.*key\.create/)
  })

  it('verifies the log, and an export of it with no store at hand', async () => {
    expect(await weir('audit', 'verify', '--config', config)).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^whole: entries 1 to 4\nsigned by [0-9a-f]{16}\n$/),
    })
    const file = join(home, 'export.jsonl')
    expect((await weir('audit', 'export', '--out', file, '--config', config)).code).toBe(0)
    expect(await weir('audit', 'verify', '--file', file)).toMatchObject({ code: 0 })
    expect(await weir('audit', 'export', '--out', file, '--config', config)).toMatchObject({
      code: 1,
      err: expect.stringContaining('there is such a file already'),
    })
    const text = await readFile(file, 'utf8')
    const lines = text.split('\n')
    const alterations: [string, string, RegExp][] = [
      ['a word', text.replace('acme', 'bmce'), /at entry 2: altered/],
      ['a line left out', [...lines.slice(0, 2), ...lines.slice(3)].join('\n'), /at entry 2: missing/],
      ['its end', lines.slice(0, 4).join('\n'), /truncated/],
      [
        'its end, but for the checkpoint',
        [...lines.slice(0, 4), ...lines.slice(-2)].join('\n'),
        /checkpoint/,
      ],
      ['a foreign key', text.replace(/"keys":\["[^"]*"\]/, `"keys":["${'A'.repeat(43)}="]`), /signature/],
    ]
    for (const [what, altered, finding] of alterations) {
      await writeFile(file, altered)
      const { code, out } = await weir('audit', 'verify', '--file', file)
      expect([what, code, out]).toEqual([what, 1, expect.stringMatching(finding)])
    }
    const refused = await weir('audit', 'verify', '--config', config, '--key', '0'.repeat(16))
    expect(refused).toMatchObject({ code: 1, out: expect.stringContaining('signature') })
  })

  it('does not call a file that is not there altered', async () => {
    const missing = join(home, 'no-such-file')
    expect(await weir('audit', 'verify', '--file', missing)).toMatchObject({
      code: 1,
      out: '',
      err: expect.stringMatching(/--file .*no-such-file.*ENOENT/),
    })
  })

  it('gives a checkpoint as JSON, too', async () => {
    const { out } = await weir('audit', 'checkpoint', '--json', '--config', config)
    expect(JSON.parse(out)).toEqual({ checkpoint: expect.stringMatching(/^weir\.audit\/[0-9a-f]{16}\n4\n/) })
  })

  it('finds a store set back to an earlier state by a checkpoint that was kept elsewhere', async () => {
    const state = new EmbeddedState(join(home, 'state'))
    await state.open()
    const before = await state.get(HEAD)
    await weir('tenant', 'create', 'bmce', '--config', config)
    const note = join(home, 'anchor.note')
    const { out } = await weir('audit', 'checkpoint', '--config', config)
    expect(out).toMatch(/^weir\.audit\/[0-9a-f]{16}\n\d+\n[A-Za-z0-9+/]{43}=\n\n— weir\.audit\//)
    await writeFile(note, out)
    expect((await weir('audit', 'verify', '--checkpoint', note, '--config', config)).code).toBe(0)
    await state.put(HEAD, before?.value ?? Buffer.alloc(0))
    await state.close()
    expect((await weir('audit', 'verify', '--config', config)).code).toBe(0)
    const found = await weir('audit', 'verify', '--checkpoint', note, '--config', config)
    expect(found).toMatchObject({ code: 1, out: expect.stringMatching(/truncated: the log ends at entry 5/) })
  })

  it.each([
    [['audit'], 'say what to do'],
    [['audit', 'export', '--config', 'CONFIG'], '--out'],
    [['audit', 'query', '--limit', 'x', '--config', 'CONFIG'], '--limit'],
    [['audit', 'query', '--since', 'yesterday', '--config', 'CONFIG'], '--since'],
  ])('tells what is wrong with %j', async (argv, text) => {
    const { code, err } = await weir(...argv.map((each) => (each === 'CONFIG' ? config : each)))
    expect(code).toBeGreaterThan(0)
    expect(err).toContain(text)
  })
})
