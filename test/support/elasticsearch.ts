import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { gunzipSync } from 'node:zlib'

/**
 * What of Elasticsearch's HTTP API an exporter uses, as its reference describes it: `GET /`, `PUT /_index_template/{name}`,
 * `POST /_bulk` (NDJSON of `index` actions; per-item status and error; 413 over `http.max_content_length`).
 */
export interface TestCluster {
  readonly url: string
  /** By `<index>/<id>`. */
  readonly documents: ReadonlyMap<string, Record<string, unknown>>
  readonly templates: ReadonlyMap<string, unknown>
  readonly requests: readonly { readonly path: string; readonly headers: IncomingMessage['headers'] }[]
  close(): Promise<void>
}

/** What is done with a bulk request; absent: all is indexed. `items`: status and error per id instead of 201. */
export interface BulkRuling {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly items?: ReadonlyMap<string, readonly [status: number, type: string, reason?: string]>
  /** Answered as it is, status 200; nothing is indexed. */
  readonly body?: unknown
  /** Indexed, and the connection is cut. */
  readonly lost?: boolean
  readonly hang?: boolean
  readonly slowMs?: number
}

interface Action {
  readonly id: string
  readonly index: string
  readonly source: Record<string, unknown>
}

export interface ClusterOptions {
  readonly rule?: (actions: readonly Action[]) => BulkRuling
  readonly distribution?: string
  readonly maxBytes?: number
}

export async function startElasticsearch(options: ClusterOptions = {}): Promise<TestCluster> {
  const documents = new Map<string, Record<string, unknown>>()
  const templates = new Map<string, unknown>()
  const requests: { path: string; headers: IncomingMessage['headers'] }[] = []

  const bulk = async (body: Buffer, request: IncomingMessage, response: ServerResponse): Promise<void> => {
    if (body.length > (options.maxBytes ?? Infinity)) return answer(response, 413, { error: 'too large' })
    const actions = actionsOf(body)
    const ruling = options.rule?.(actions) ?? {}
    if (ruling.hang === true) return
    await delay(ruling.slowMs ?? 0)
    if (ruling.status !== undefined)
      return answer(response, ruling.status, { error: 'told so' }, ruling.headers)
    if (ruling.body !== undefined) return answer(response, 200, ruling.body)
    const items = actions.map(({ id, index, source }) => {
      const [status, type, reason = 'told so'] = ruling.items?.get(id) ?? [
        documents.has(`${index}/${id}`) ? 200 : 201,
        '',
      ]
      if (status < 300) documents.set(`${index}/${id}`, source)
      return { index: { status, ...(type !== '' && { error: { type, reason } }) } }
    })
    if (ruling.lost === true) request.socket.destroy()
    else answer(response, 200, { errors: items.some(({ index }) => index.status >= 300), items })
  }

  const server = createServer((request, response) => {
    void (async () => {
      const chunks: Buffer[] = []
      for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
      const raw = Buffer.concat(chunks)
      const body = request.headers['content-encoding'] === 'gzip' ? gunzipSync(raw) : raw
      const path = request.url ?? ''
      requests.push({ path, headers: request.headers })
      if (path.startsWith('/_bulk')) await bulk(body, request, response)
      else if (path.startsWith('/_index_template/')) {
        templates.set(path.slice('/_index_template/'.length), JSON.parse(body.toString()))
        answer(response, 200, { acknowledged: true })
      } else answer(response, 200, { version: { number: '9.1.0', distribution: options.distribution } })
    })()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    documents,
    templates,
    requests,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function answer(response: ServerResponse, status: number, body: unknown, headers: object = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers })
  response.end(JSON.stringify(body))
}

function actionsOf(body: Buffer): Action[] {
  const text = body.toString()
  if (!text.endsWith('\n')) throw new Error('a bulk body ends with a newline')
  const lines = text.slice(0, -1).split('\n')
  return Array.from({ length: lines.length / 2 }, (_, at) => {
    const { index } = JSON.parse(lines[2 * at] ?? '') as { index: { _index: string; _id: string } }
    return {
      id: index._id,
      index: index._index,
      source: JSON.parse(lines[2 * at + 1] ?? '') as Action['source'],
    }
  })
}
