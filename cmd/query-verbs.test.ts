import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { apiOnChdb, runVerb, type ApiOnChdb } from '../test/support/api-on-chdb.ts'
import { verb as cost } from './cost.ts'
import { verb as query } from './query.ts'
import { verb as trace } from './trace.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const EVIL = 'evil\u001b[2J\u009b31m\nnew\u202eline'
// oxlint-disable-next-line no-control-regex -- that none is printed is the promise
const CONTROL = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/

let api: ApiOnChdb
beforeAll(async () => {
  api = await apiOnChdb()
  // One instant for all rows: `now64` is asked row by row, and drifts on a busy machine.
  const base = `fromUnixTimestamp64Milli(toInt64(${Date.now() - 60_000}))`
  await api.exec(`INSERT INTO weir.otel_traces (TenantId, Timestamp, TraceId, SpanId, ParentSpanId, SpanName, Duration,
      StatusCode, StatusMessage, AgentName, Operation, ModelCall, Provider, ResponseModel, PriceModel,
      InputTokens, CacheReadTokens, OutputTokens, CostUsd, CostStatus, CostReason) VALUES
    ('acme', ${base}, '${TRACE}', 'r', '', 'invoke_agent planner', 2500000000, 'Unset', '', 'planner', 'invoke_agent', 0, '', '', '', 0, 0, 0, 0, 'none', ''),
    ('acme', ${base} + 0.1, '${TRACE}', 'a', 'r', 'chat gpt-4o', 1500000000, 'Ok', '', 'planner', 'chat', 1, 'openai', 'gpt-4o-2024-08-06', 'gpt-4o', 1000, 500, 200, 0.0051255, 'computed', ''),
    ('acme', ${base} + 1.7, '${TRACE}', 'b', 'r', 'execute_tool search', 300000000, 'Error', 'timeout after 300 ms', 'planner', 'execute_tool', 0, '', '', '', 0, 0, 0, 0, 'none', ''),
    ('acme', ${base} + 2, '${TRACE}', 'c', 'gone', 'chat mystery', 400000000, 'Ok', '', 'planner', 'chat', 1, 'acme', 'mystery-1', '', 70, 0, 5, 0, 'unpriced', 'unknown_model'),
    ('beta', ${base}, 'ffff0000ffff0000ffff0000ffff0000', 'e', '', 'evil\\x1b[2J\\nx', 1, 'Error', 'evil\\x1b[2J\\nx', '', 'chat', 1, 'openai', 'gpt-4o-mini', 'gpt-4o-mini', 1234567, 0, 1, 0.5, 'computed', '')`)
})
afterAll(() => api.stop())

describe('weir query', () => {
  it('prints an aligned table, numbers to the right', async () => {
    const sql = "SELECT if(number = 0, 'x', 'longer') AS word, number * 12338 + 7 AS n FROM numbers(2)"
    const { code, out } = await api.verb(query, [sql])
    expect(code).toBe(0)
    expect(out).toBe(
      ['word        n', '──────  ─────', 'x           7', 'longer  12345', '(2 rows)', ''].join('\n'),
    )
  })

  it('binds parameters', async () => {
    const { out } = await api.verb(query, [
      'SELECT {who:String} AS w',
      '--param',
      "who=a'; DROP TABLE x",
      '--csv',
    ])
    expect(out).toBe("w\r\na'; DROP TABLE x\r\n")
  })

  it('gives JSON that keeps decimals and long integers exact', async () => {
    const sql = "SELECT toUInt64(9007199254740993) AS n, toDecimal64('0.1', 12) AS d, [1, 2] AS list"
    const answer = JSON.parse((await api.verb(query, [sql, '--json'])).out) as { rows: unknown[] }
    expect(answer.rows).toEqual([{ n: '9007199254740993', d: '0.1', list: [1, 2] }])
    const twice = JSON.parse((await api.verb(query, ['SELECT 1, 1', '--json'])).out) as {
      rows: unknown[]
    }
    expect(twice.rows).toEqual([[1, 1]])
  })

  it.each(['--json', '--csv', '--'])(
    'prints no control character of the data on a terminal (%s)',
    async (flag) => {
      const argv = flag === '--' ? [] : [flag]
      const { out } = await api.verb(query, ['SELECT {e:String} AS e', '--param', `e=${EVIL}`, ...argv], {
        tty: true,
      })
      expect(out.replaceAll('\r\n', '\n')).not.toMatch(CONTROL)
      expect(out).toContain('evil')
    },
  )

  it('says when the answer was cut', async () => {
    const { out, err } = await api.verb(query, ['SELECT number FROM numbers(100)', '--max-rows', '3'])
    expect(out).toContain('(3 rows)')
    expect(err).toContain('cut after 3 rows')
  })

  it('lists and runs all named queries', async () => {
    const { out } = await api.verb(query, ['--list', '--json'])
    const { queries } = JSON.parse(out) as { queries: { name: string }[] }
    expect(queries).toHaveLength(12)
    for (const { name } of queries) {
      const answer = await api.verb(query, ['--named', name, '--json'])
      expect([name, answer.code]).toEqual([name, 0])
    }
    const spend = await api.verb(query, ['--named', '1', '--json'])
    const { rows } = JSON.parse(spend.out) as { rows: { Model: string }[] }
    // One without a price has its name.
    expect(rows.map(({ Model }) => Model).toSorted()).toEqual(['gpt-4o', 'gpt-4o-mini', 'mystery-1'])
  })

  it('counts all tokens, and bears a span that says it stands for 2^52', async () => {
    await api.exec(`INSERT INTO weir.otel_traces (TenantId, Timestamp, TraceId, SpanId, ModelCall, Provider, PriceModel, InputTokens,
        CacheReadTokens, CacheWriteTokens, CacheWrite1hTokens, AudioInputTokens, ImageInputTokens, OutputTokens, ReasoningTokens,
        AudioOutputTokens, ImageOutputTokens, CostUsd, CostStatus, SampleRate) VALUES
      ('old', now64(9) - INTERVAL 30 HOUR, 't', 's', 1, 'p', 'all-kinds', 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1, 'computed', 1),
      ('old', now64(9) - INTERVAL 30 HOUR, 't', 's', 1, 'p', 'liar', 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 999999, 'provided', 4503599627370496)`)
    const rows = async (argv: string[]) =>
      (JSON.parse((await api.verb(query, [...argv, '--json'])).out) as { rows: Record<string, unknown>[] })
        .rows
    const spend = await rows(['--named', '1'])
    expect(spend.find((row) => row['Model'] === 'all-kinds')).toMatchObject({
      TokensIn: '63',
      TokensOut: '960',
    })
    const daily = await rows(["SELECT CostUsd AS usd FROM cost_daily WHERE Model = 'liar'"])
    const claimed = 999_999 * 2 ** 52
    expect(Number(daily[0]?.['usd']) / claimed).toBeCloseTo(1, 9)
    const { out } = await api.verb(cost, ['--since', '2d', '--by', 'tenant', '--json'])
    const { lines } = JSON.parse(out) as { lines: Record<string, unknown>[] }
    expect(lines.find((line) => line['tenant'] === 'old')?.['stored']).toBe('2')
    expect((await api.verb(cost, ['--since', '2d'])).out).toContain('estimated from 5 stored calls')
    expect((await api.verb(cost, ['--since', '24h'])).out).not.toContain('estimated')
    expect(Number(lines.find((line) => line['tenant'] === 'old')?.['usd']) / claimed).toBeCloseTo(1, 9)
  })

  it("shows the guard's reason", async () => {
    await expect(api.verb(query, ['DROP TABLE otel_traces'])).rejects.toMatchObject({
      code: 'QUERY_REFUSED',
      message: expect.stringContaining('not a SELECT') as string,
    })
  })

  it.each([
    [[]],
    [['SELECT 1', 'SELECT 2']],
    [['SELECT 1', '--named', 'x']],
    [['SELECT 1', '--param', 'novalue']],
  ])('explains a wrong call %s', async (argv) => {
    await expect(api.verb(query, argv)).rejects.toMatchObject({ name: 'UsageError' })
  })
})

describe('weir cost', () => {
  it('shows calls, tokens, dollars, share, and what has no price and why', async () => {
    const { out } = await api.verb(cost, ['--by', 'model'])
    const lines = out
      .trimEnd()
      .split('\n')
      .map((line) => line.replace(/ {2,}/g, ' | '))
    expect(lines).toEqual([
      'model | calls | input | cache read | output | usd | share | unpriced | why unpriced',
      expect.stringMatching(/^─/),
      'gpt-4o-mini | 1 | 1,234,567 | 0 | 1 | 0.50 | 99.0%',
      'gpt-4o | 1 | 1,000 | 500 | 200 | 0.005125 | 1.0%',
      'mystery-1 | 1 | 70 | 0 | 5 | 0.00 | 0.0% | 1 | unknown_model',
      'total | 3 | 1,235,637 | 500 | 206 | 0.505125 | 100.0% | 1 | unknown_model',
    ])
  })

  it('divides by several, and gives data', async () => {
    const { out } = await api.verb(cost, ['--by', 'tenant,agent,provider', '--since', '2h', '--json'])
    const { lines, total } = JSON.parse(out) as {
      lines: Record<string, unknown>[]
      total: Record<string, unknown>
    }
    expect(lines[0]).toMatchObject({ tenant: 'beta', agent: '', provider: 'openai', usd: '0.5' })
    expect(lines).toHaveLength(3)
    expect(total).toMatchObject({ calls: '3', usd: '0.5051255', unpriced: '1' })
  })

  it('keeps the total over everything when lines are cut', async () => {
    const { out } = await api.verb(cost, ['--limit', '1'])
    expect(out).toMatch(/total\s+3 /)
  })

  it('says when there is nothing', async () => {
    expect((await api.verb(cost, ['--since', '1s'])).out).toBe('no model calls in the last 1s\n')
  })

  it.each([
    ['--by', 'nonsense'],
    ['--since', 'yesterday'],
    ['--since', '0h'],
    ['--limit', '-1'],
  ])('explains a wrong call %s %s', async (flag, value) => {
    await expect(api.verb(cost, [`${flag}=${value}`])).rejects.toMatchObject({ name: 'UsageError' })
  })
})

describe('weir trace', () => {
  it('draws the tree with latency, tokens, cost and what went wrong', async () => {
    const { code, out } = await api.verb(trace, [TRACE])
    expect(code).toBe(0)
    const lines = out.split('\n').map((line) => line.replace(/ {2,}/g, '  '))
    expect(lines[0]).toMatch(
      /^trace 4bf9.* {2}· {2}tenant acme .*2\.50 s {2}· {2}4 spans {2}· {2}\$0\.005126 {2}· {2}1 unpriced {2}· {2}1 error$/,
    )
    expect(lines[2]).toMatch(/^invoke_agent planner {2}2\.50 s {2}█{24}$/)
    expect(lines[3]).toMatch(
      /^├─ chat gpt-4o \(gpt-4o-2024-08-06\)|^├─ chat gpt-4o .*1\.50 s {2}█+ {2}1500 → 200 {2}\$0\.005126$/,
    )
    expect(lines[4]).toMatch(/^└─ execute_tool search {2}300 ms {2}█+ {2}✗ timeout after 300 ms$/)
    expect(lines[5]).toMatch(/^chat mystery.*⟨parent missing⟩.*70 → 5 {2}unpriced$/)
  })

  it('takes the id as a UUID or a run id, and gives data', async () => {
    const uuid = TRACE.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-').toUpperCase()
    const { out } = await api.verb(trace, [uuid, '--json'])
    expect((JSON.parse(out) as { spans: unknown[] }).spans).toHaveLength(4)
  })

  it('prints no control character of the data, and colours errors on a terminal only', async () => {
    const id = 'ffff0000ffff0000ffff0000ffff0000'
    const plain = (await api.verb(trace, [id])).out
    expect(plain).not.toMatch(CONTROL)
    const coloured = (await api.verb(trace, [id], { tty: true })).out
    expect(coloured).toContain('\u001b[31m')
    // oxlint-disable-next-line no-control-regex -- our own colours are taken out to see that nothing is left
    expect(coloured.replace(/\u001b\[(?:31|0)m/g, '')).not.toMatch(CONTROL)
    expect((await api.verb(trace, [id], { tty: true, env: { NO_COLOR: '1' } })).out).not.toMatch(CONTROL)
  })

  it('shows what was moved out of a span and its events, below it', async () => {
    const id = 'aaaa0000aaaa0000aaaa0000aaaa0000'
    const ref = (digit: string) => `artifact://acme/${digit.repeat(64)}`
    const notes = (key: string, digit: string, type: string) =>
      `'${key}.artifact.ref', '${ref(digit)}', '${key}.artifact.size', '1572864', '${key}.artifact.media_type', '${type}'`
    await api.exec(`INSERT INTO weir.otel_traces (TenantId, Timestamp, TraceId, SpanId, ParentSpanId, SpanName, SpanAttributes, Events.Timestamp, Events.Name, Events.Attributes) VALUES
      ('acme', now64(), '${id}', 'r', '', 'root', map('short', 'x'), [], [], []),
      ('acme', now64() + 1, '${id}', 'a', 'r', 'chat', map('gen_ai.prompt', 'Once upon\x1b[2J', ${notes('gen_ai.prompt', 'a', 'text/plain; charset=utf-8')}), [now64()], ['e'], [map('image', '[1572864 bytes of image/png]', ${notes('image', 'b', 'image/png')})])`)
    const { out } = await api.verb(trace, [id])
    expect(out).not.toMatch(CONTROL)
    expect(out.split('\n').slice(4)).toEqual([
      `     ⇲ gen_ai.prompt  1.5 MiB  text/plain  ${ref('a')}`,
      '       Once upon\\x1b[2J',
      `     ⇲ image  1.5 MiB  image/png  ${ref('b')}`,
      '       [1572864 bytes of image/png]',
      '',
      '',
    ])
    const { spans } = JSON.parse((await api.verb(trace, [id, '--json'])).out) as {
      spans: { Artifacts: object[] }[]
    }
    expect(spans.map(({ Artifacts }) => Artifacts.length)).toEqual([0, 2])
    expect(spans[1]?.Artifacts[1]).toMatchObject({ key: 'image', ref: ref('b'), size: 1_572_864 })
  })

  it('says when there is no such trace', async () => {
    const { code, err } = await api.verb(trace, ['0123'])
    expect([code, err]).toEqual([1, expect.stringContaining('there is no trace 0123')])
  })
})

describe('without a daemon', () => {
  it('says what to do when nothing answers', async () => {
    const server = createServer()
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve)
    })
    const { port } = server.address() as AddressInfo
    await new Promise((resolve) => {
      server.close(resolve)
    })
    const env = { WEIR_ENDPOINT: `127.0.0.1:${port}` }
    await expect(runVerb(cost, [], { env })).rejects.toMatchObject({
      code: 'DAEMON_UNREACHABLE',
      message: expect.stringMatching(/weir run .*--endpoint or WEIR_ENDPOINT/) as string,
    })
  })

  it('says when something else answers', async () => {
    const server = createServer((_, response) => response.end('<html>'))
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve)
    })
    const { port } = server.address() as AddressInfo
    await expect(runVerb(query, ['SELECT 1', '--endpoint', `127.0.0.1:${port}`])).rejects.toMatchObject({
      message: expect.stringContaining("not weir's API") as string,
    })
    server.close()
  })

  it.each([['--endpoint', '::bad::']])('explains a wrong endpoint', async (...argv) => {
    await expect(runVerb(cost, argv)).rejects.toMatchObject({ name: 'UsageError' })
  })
})
