import { messageOf, retry } from '../../pipeline/fault.ts'
import { clientContextOptions } from '../../pipeline/net/client-tls.ts'
import { compress } from '../../pipeline/net/compress.ts'
import { HttpPoster, type HttpResponse } from '../../pipeline/net/http-post.ts'
import { bulkAnswer, quoted, type BulkAnswer } from './bulk.ts'
import type { Config } from './config.ts'
import { templateOf } from './template.ts'

const NOTHING = Buffer.alloc(0)
const TEMPLATE = 'weir-traces'
/** Of a bulk answer only what is looked at: it has a line per document. */
const FILTER = 'filter_path=errors,items.*.status,items.*.error.type,items.*.error.reason'

type Nodes = readonly (readonly [address: string, poster: HttpPoster])[]

/** The nodes of a cluster: a request goes to one, and to the next when that does not answer. */
export class Cluster {
  readonly #config: Config
  readonly #nodes: Nodes
  readonly #headers: Readonly<Record<string, string>>
  #node = 0
  #hasTemplate: boolean

  static async open(config: Config): Promise<Cluster> {
    const context = config.tls === undefined ? {} : await clientContextOptions(config.tls)
    const addresses = config.endpoints ?? [config.endpoint ?? '']
    const nodes = addresses.map(
      (address) =>
        [address, new HttpPoster(address, config.timeout, { context, options: config.tls })] as const,
    )
    return new Cluster(config, nodes)
  }

  private constructor(config: Config, nodes: Nodes) {
    this.#config = config
    this.#nodes = nodes
    this.#headers = headersOf(config)
    this.#hasTemplate = !config.create_template
  }

  /** NDJSON of the bulk API, of so many documents. */
  async bulk(body: Uint8Array, documents: number, signal: AbortSignal): Promise<BulkAnswer> {
    await this.#ensureTemplate(signal)
    const { compression, pipeline } = this.#config
    const path = `/_bulk?${FILTER}${pipeline === undefined ? '' : `&pipeline=${encodeURIComponent(pipeline)}`}`
    const headers = {
      'content-type': 'application/x-ndjson',
      ...(compression === 'gzip' && { 'content-encoding': 'gzip' }),
    }
    const response = await this.#send('POST', path, await compress(body, compression), signal, headers)
    const answer = bulkAnswer(response, documents)
    // The repeat asks another node: this one may be cut off from its cluster.
    if (answer.is === 'later') this.#node++
    return answer
  }

  /** Throws EXPORT_UNAVAILABLE when no node answers as Elasticsearch or OpenSearch does. */
  async version(signal: AbortSignal): Promise<{ readonly distribution?: string; readonly number: string }> {
    const response = await this.#send('GET', '/', NOTHING, signal)
    const { version } = parse(response) as { version?: { distribution?: string; number?: string } }
    if (response.status === 200 && version?.number !== undefined)
      return { ...version, number: version.number }
    throw unavailable(`HTTP ${response.status}: ${quoted(response.body.toString())}`)
  }

  close(): void {
    for (const [, poster] of this.#nodes) poster.close()
  }

  async #ensureTemplate(signal: AbortSignal): Promise<void> {
    if (this.#hasTemplate) return
    const { traces_index: index } = this.#config
    const { distribution } = await this.version(signal)
    const body = Buffer.from(JSON.stringify(templateOf(`${index}*`, distribution === 'opensearch')))
    const path = `/_index_template/${index === TEMPLATE ? TEMPLATE : `${TEMPLATE}-${index}`}`
    const response = await this.#send('PUT', path, body, signal, { 'content-type': 'application/json' })
    if (response.status >= 300) {
      const why = `HTTP ${response.status}: ${quoted(response.body.toString())}`
      throw unavailable(`the index template could not be put (or set create_template: false): ${why}`)
    }
    this.#hasTemplate = true
  }

  async #send(
    method: 'GET' | 'POST' | 'PUT',
    path: string,
    body: Uint8Array,
    signal: AbortSignal,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<HttpResponse> {
    let last = ''
    for (let tried = 0; tried < this.#nodes.length && !signal.aborted; tried++) {
      const [address, poster] = this.#nodes[this.#node % this.#nodes.length] as Nodes[number]
      try {
        return await poster.send(method, path, { ...this.#headers, ...headers }, body, signal)
      } catch (error) {
        last = `${address}: ${quoted(messageOf(error))}`
        this.#node++
      }
    }
    throw unavailable(last === '' ? 'given up' : last)
  }
}

export function unavailable(message: string, afterMs?: number): Error {
  return retry('EXPORT_UNAVAILABLE', `elasticsearch: ${message}`, afterMs)
}

function parse({ body }: HttpResponse): unknown {
  try {
    return Object(JSON.parse(body.toString()))
  } catch {
    return {}
  }
}

function headersOf({ headers, api_key: key, user, password }: Config): Record<string, string> {
  const given = Object.entries(headers).map(([name, value]) => [name, value.reveal()] as const)
  const basic = Buffer.from(`${user}:${password?.reveal() ?? ''}`).toString('base64')
  return {
    'user-agent': 'weir',
    ...(key !== undefined && { authorization: `ApiKey ${key.reveal()}` }),
    ...(user !== undefined && { authorization: `Basic ${basic}` }),
    ...Object.fromEntries(given),
  }
}
