import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import * as zlib from 'node:zlib'
import { Session } from 'chdb'
import { quoteText } from '../proto/clickhouse/native.ts'

/**
 * A real ClickHouse behind ClickHouse's HTTP interface: chdb in this process, and of the interface what
 * @clickhouse/client uses: the query in the URL or the body, `param_…`, settings in the URL, a body of data, gzip,
 * `X-ClickHouse-Summary`, `X-ClickHouse-Exception-Code`, errors as text. One per process: chdb binds one directory.
 */
export interface TestServer {
  readonly url: string
  /** Requests so far, newest last. */
  readonly requests: readonly TestRequest[]
  /** Called before a request runs; what it returns is sent instead (`drop` cuts the connection, after running when `ran`). */
  intercept: ((request: TestRequest) => Interception | undefined) | undefined
  session: Session
  /** Another address of the same server. */
  second(): Promise<TestServer>
  close(): Promise<void>
}

export interface TestRequest {
  readonly sql: string
  readonly settings: Readonly<Record<string, string>>
  readonly bodyBytes: number
  /** As it was sent, compressed or not. */
  readonly wireBytes: number
  /** Data of an INSERT. */
  readonly body: Buffer
  readonly user: string
}

export type Interception =
  | { readonly status: number; readonly code: number; readonly message: string }
  | { readonly drop: 'before' | 'after' }
  | { readonly hang: true }
  /** Before it runs. */
  | { readonly slowMs: number }
  /** Between the run and its answer. */
  | { readonly lateMs: number }
  /** Runs this instead: a server that is not what it is. */
  | { readonly sql: string }

/** `config`: the server's config file, XML. */
export async function startClickHouse(port = 0, config = '<clickhouse/>'): Promise<TestServer> {
  const folder = mkdtempSync(join(tmpdir(), 'weir-clickhouse-'))
  const file = join(folder, 'config.xml')
  writeFileSync(file, config)
  const session = new Session(join(folder, 'data'), { connectionArgs: [`--config-file=${file}`] })
  return await listen(port, folder, session, () => {
    session.close()
    rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
  })
}

let files = 0

async function listen(port: number, folder: string, session: Session, end: () => void): Promise<TestServer> {
  const requests: TestRequest[] = []
  const state: { intercept: TestServer['intercept'] } = { intercept: undefined }
  const server = createServer((request, response) => {
    void serve(request, response).catch((error: unknown) => fail(response, error))
  })

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://localhost')
    if (url.pathname === '/ping') {
      response.end('Ok.\n')
      return
    }
    const { body, wireBytes } = await bodyOf(request)
    const inUrl = url.searchParams.get('query')
    const sql = inUrl ?? body.toString()
    const data = inUrl === null ? Buffer.alloc(0) : body
    const seen = {
      sql,
      settings: settingsOf(url),
      bodyBytes: data.length,
      wireBytes,
      body: data,
      user: userOf(request),
    }
    requests.push(seen)
    const interception = state.intercept?.(seen)
    if (interception !== undefined && 'status' in interception) {
      answerError(response, interception.status, interception.code, interception.message)
      return
    }
    if (interception !== undefined && 'hang' in interception) return
    if (interception !== undefined && 'slowMs' in interception) await delay(interception.slowMs)
    const drop = interception !== undefined && 'drop' in interception ? interception.drop : undefined
    if (drop === 'before') {
      request.socket.destroy()
      return
    }
    const result = await run(
      url,
      interception !== undefined && 'sql' in interception ? interception.sql : sql,
      data,
    )
    if (interception !== undefined && 'lateMs' in interception) await delay(interception.lateMs)
    if (drop === 'after') {
      request.socket.destroy()
      return
    }
    response.setHeader('X-ClickHouse-Summary', JSON.stringify(result.summary))
    response.setHeader('Content-Type', 'application/json')
    response.end(result.bytes)
  }

  /** A session of its own per request, as a server has: settings of one do not reach another. */
  async function run(url: URL, sql: string, data: Buffer) {
    const own = new Session(join(folder, 'data'))
    const path = join(folder, `${++files}.body`)
    try {
      const database = url.searchParams.get('database')
      if (database !== null) await own.queryAsync(`USE \`${database}\``)
      const items = Object.entries(settingsOf(url)).map(([name, value]) => `${name} = ${quoteText(value)}`)
      if (items.length > 0) await own.queryAsync(`SET ${items.join(', ')}`)
      const params = paramsOf(url)
      const text = data.length === 0 ? sql : withFile(sql, path, data)
      const result = await own.queryBindAsync(text, params, { format: 'TabSeparated' })
      const rows = String(result.rowsRead)
      return { bytes: result.bytes(), summary: { read_rows: rows, written_rows: rows, read_bytes: '0' } }
    } finally {
      own.close()
      rmSync(path, { force: true })
    }
  }

  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  const bound = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${bound.port}`,
    requests,
    get intercept() {
      return state.intercept
    },
    set intercept(value) {
      state.intercept = value
    },
    session,
    second: () => listen(0, folder, session, () => undefined),
    close: () => stop(server, end),
  }
}

/** `INSERT … FORMAT Native` with a body → the same from a file: chdb takes no body. */
function withFile(sql: string, path: string, data: Buffer): string {
  writeFileSync(path, data)
  const match = /^([\s\S]*?)(?:\sSETTINGS\s([\s\S]*?))?\sFORMAT\s+(\w+)\s*$/.exec(sql)
  if (match === null) throw new Error(`not an INSERT with FORMAT: ${sql.slice(0, 80)}`)
  const [, into, settings, format] = match
  return `${into} SELECT * FROM file(${quoteText(path)}, ${format})${settings === undefined ? '' : ` SETTINGS ${settings}`}`
}

/** Parameters of the interface itself; the rest are settings. `wait_end_of_query` is of the HTTP layer only. */
const NOT_SETTINGS = new Set([
  'query',
  'database',
  'query_id',
  'session_id',
  'default_format',
  'wait_end_of_query',
  'role',
])

function settingsOf(url: URL): Record<string, string> {
  return Object.fromEntries(
    [...url.searchParams].filter(
      ([name]) =>
        !NOT_SETTINGS.has(name) &&
        !name.startsWith('param_') &&
        !/^(?:enable_)?http_|^enable_http/.test(name),
    ),
  )
}

function paramsOf(url: URL): Record<string, string> {
  return Object.fromEntries(
    [...url.searchParams]
      .filter(([name]) => name.startsWith('param_'))
      .map(([name, value]) => [name.slice('param_'.length), unescaped(value)]),
  )
}

/** A value in the URL is escaped as in TabSeparated. */
function unescaped(value: string): string {
  const plain: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', b: '\b', f: '\f', '0': '\0' }
  return value.replace(/\\(.)/gs, (_, char: string) => plain[char] ?? char)
}

function userOf(request: IncomingMessage): string {
  const basic = /^Basic (.+)$/.exec(request.headers.authorization ?? '')?.[1]
  return basic === undefined ? '' : (Buffer.from(basic, 'base64').toString().split(':')[0] ?? '')
}

async function bodyOf(request: IncomingMessage): Promise<{ body: Buffer; wireBytes: number }> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  const body = Buffer.concat(chunks)
  return { body: decoded(body, request.headers['content-encoding']), wireBytes: body.length }
}

/** `zstdDecompressSync` is of Node.js 22.15; the types are those of Node.js 20. */
function decoded(body: Buffer, encoding: string | undefined): Buffer {
  if (encoding === 'gzip') return zlib.gunzipSync(body)
  if (encoding !== 'zstd') return body
  const { zstdDecompressSync } = zlib as { zstdDecompressSync?: (bytes: Buffer) => Buffer }
  if (zstdDecompressSync === undefined) throw new RangeError('this Node.js has no zstd')
  return zstdDecompressSync(body)
}

function fail(response: ServerResponse, error: unknown): void {
  const message = error instanceof Error ? error.message : String(error)
  const code = Number(
    /Code: (\d+)/.exec(message)?.[1] ?? (error as { clickhouseCode?: number }).clickhouseCode ?? 1000,
  )
  answerError(response, 500, code, message)
}

function answerError(response: ServerResponse, status: number, code: number, message: string): void {
  response.statusCode = status
  response.setHeader('X-ClickHouse-Exception-Code', String(code))
  response.end(/^Code: \d+/.test(message) ? message : `Code: ${code}. DB::Exception: ${message} (TEST_ERROR)`)
}

async function stop(server: Server, end: () => void): Promise<void> {
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
  end()
}
