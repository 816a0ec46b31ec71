import { FAULTS, messageOf, reject, retry, type Fault, type FaultCode } from '../pipeline/fault.ts'
import { UsageError, type Io } from './verb.ts'

/** What verbs ask of a running daemon's API. */
export interface ApiClient {
  readonly endpoint: string
  get(path: string): Promise<unknown>
  post(path: string, body: unknown): Promise<unknown>
  /** `timeoutMs`: for what may take longer than a minute. */
  call(method: string, path: string, body?: unknown, timeoutMs?: number): Promise<unknown>
  query(request: QueryCall): Promise<QueryAnswer>
  /** What a signed URL gives; no token is sent with it. */
  download(url: string): Promise<Download>
}

export interface Download {
  readonly bytes: Buffer
  readonly mediaType: string
}

interface QueryCall {
  readonly sql?: string
  readonly named?: string
  readonly params?: Readonly<Record<string, string | number | boolean | readonly string[]>>
  readonly limits?: { readonly max_rows?: number; readonly timeout_ms?: number }
}

export interface QueryAnswer {
  readonly columns: readonly { readonly name: string; readonly type: string }[]
  readonly rows: readonly (readonly unknown[])[]
  readonly truncated: boolean
  readonly elapsed_ms: number
}

const DEFAULT_ENDPOINT = 'http://127.0.0.1:4320'
const TIMEOUT_MS = 60_000
const MAX_ANSWER_BYTES = 128 * 1024 * 1024

/** Flags of every verb that talks to a daemon, for `parseArgs` and for its help. */
export const CLIENT_FLAGS = { endpoint: { type: 'string' } } as const
export const CLIENT_HELP = `  --endpoint URL     the daemon's API (WEIR_ENDPOINT, default ${DEFAULT_ENDPOINT})
  WEIR_TOKEN         bearer token, where the API asks for one`

export function apiClient(io: Io, endpointFlag: string | undefined): ApiClient {
  const endpoint = endpointOf(endpointFlag ?? io.env['WEIR_ENDPOINT'] ?? DEFAULT_ENDPOINT)
  const token = io.env['WEIR_TOKEN']
  const call = (method: string, path: string, body?: unknown, timeoutMs = TIMEOUT_MS) =>
    send(endpoint, { method, path, body, timeoutMs, ...(token === undefined ? {} : { token }) })
  return {
    endpoint,
    get: (path) => call('GET', path),
    post: (path, body) => call('POST', path, body),
    call,
    query: (request) => call('POST', '/v1/query', request) as Promise<QueryAnswer>,
    download,
  }
}

function endpointOf(text: string): string {
  const full = /^https?:\/\//.test(text) ? text : `http://${text}`
  try {
    return new URL(full).origin
  } catch {
    throw new UsageError(`--endpoint ${text} is not a URL such as ${DEFAULT_ENDPOINT}`)
  }
}

interface Outgoing {
  readonly method: string
  readonly path: string
  readonly body: unknown
  readonly timeoutMs: number
  readonly token?: string
}

async function send(endpoint: string, { method, path, body, timeoutMs, token }: Outgoing): Promise<unknown> {
  let response: Response
  try {
    response = await fetch(`${endpoint}${path}`, {
      method,
      headers: {
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      redirect: 'error',
      signal: AbortSignal.timeout(timeoutMs),
    })
  } catch (error) {
    throw unreachable(endpoint, error)
  }
  const answer = parseAnswer(endpoint, await readText(response))
  if (!response.ok) throw faultOfProblem(response, answer)
  return answer
}

async function download(url: string): Promise<Download> {
  let response: Response
  try {
    response = await fetch(url, { redirect: 'error', signal: AbortSignal.timeout(TIMEOUT_MS) })
  } catch (error) {
    throw unreachable(new URL(url).origin, error)
  }
  const bytes = await readBytes(response)
  if (!response.ok) {
    throw reject('NOT_FOUND', `the link gave ${response.status} ${response.statusText}: ask for another one`)
  }
  return { bytes, mediaType: response.headers.get('content-type') ?? '' }
}

async function readText(response: Response): Promise<string> {
  return (await readBytes(response)).toString()
}

async function readBytes(response: Response): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of response.body ?? []) {
    size += chunk.length
    if (size > MAX_ANSWER_BYTES)
      throw reject('QUERY_FAILED', `the answer is larger than ${MAX_ANSWER_BYTES} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function parseAnswer(endpoint: string, text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw reject('DAEMON_UNREACHABLE', `what answers at ${endpoint} is not weir's API`, { cause: error })
  }
}

function unreachable(endpoint: string, error: unknown): Fault {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error
  return retry(
    'DAEMON_UNREACHABLE',
    `no daemon answers at ${endpoint} (${messageOf(cause) || 'no connection'}). Start one with \`weir run --config …\` ` +
      'that has the api extension, or name another with --endpoint or WEIR_ENDPOINT',
    undefined,
    { cause: error },
  )
}

/** The daemon's problem details (RFC 9457) as the Fault that it was there. */
function faultOfProblem(response: Response, answer: unknown): Fault {
  const { code, detail } = (answer ?? {}) as { code?: string; detail?: string }
  const known = code !== undefined && Object.hasOwn(FAULTS, code) ? (code as FaultCode) : 'QUERY_FAILED'
  const text = detail ?? `the daemon answered ${response.status}`
  return response.status === 503 || response.status === 429 ? retry(known, text) : reject(known, text)
}
