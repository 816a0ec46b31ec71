import { createHash } from 'node:crypto'
import { mkdtemp, readdir, rm, stat, utimes } from 'node:fs/promises'
import {
  createServer,
  request,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import S3rver from '@20minutes/s3rver'

export const BUCKET = 'weir-test'
/** What s3rver knows. */
export const KEYS = { access_key_id: 'S3RVER', secret_access_key: 'S3RVER' }

/** How s3rver names the file of an object. */
const OBJECT = '._S3rver_object'

export interface S3Request {
  readonly method: string
  /** Path and query, decoded. */
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly bytes: number
}

/**
 * What becomes of a request that has come in whole. `lose`: it is done and the answer is lost; `lateMs`: it
 * is done, and answered so much later. A status and code: the store refuses.
 */
export type S3Answer =
  | 'take'
  | 'lose'
  | 'cut'
  | 'hang'
  | { readonly lateMs: number }
  | { readonly status: number; readonly code: string }

export interface TlsIdentity {
  readonly cert: string
  readonly key: string
}

export type S3Rule = (request: S3Request) => S3Answer | Promise<S3Answer>

/**
 * An S3 server with weather: a real one, and before it a proxy that passes requests on whole, so that an object is
 * there entirely or not at all, as in S3, and that compares the SHA-256 of bodies with what the client said.
 */
export class S3Server {
  readonly #store: S3rver
  readonly #directory: string
  readonly #reader: S3Client
  readonly #proxy: Server
  readonly #port: number
  readonly #scheme: string
  rule: S3Rule = () => 'take'
  readonly requests: S3Request[] = []
  /** Requests whose body was not what their headers said. */
  readonly damaged: string[] = []

  private constructor(store: S3rver, directory: string, port: number, tls?: TlsIdentity) {
    const serve = (message: IncomingMessage, response: ServerResponse) => void this.#serve(message, response)
    this.#proxy = tls === undefined ? createServer(serve) : createTlsServer(tls, serve)
    this.#scheme = tls === undefined ? 'http' : 'https'
    this.#store = store
    this.#directory = directory
    this.#port = port
    this.#reader = new S3Client({
      endpoint: `http://127.0.0.1:${this.#port}`,
      region: 'us-east-1',
      forcePathStyle: true,
      credentials: { accessKeyId: KEYS.access_key_id, secretAccessKey: KEYS.secret_access_key },
    })
  }

  static async start(rule?: S3Rule, tls?: TlsIdentity): Promise<S3Server> {
    const directory = await mkdtemp(join(tmpdir(), 'weir-s3-'))
    const store = new S3rver({
      address: '127.0.0.1',
      port: 0,
      silent: true,
      directory,
      configureBuckets: [{ name: BUCKET }],
    })
    const { port } = await store.run()
    const server = new S3Server(store, directory, port, tls)
    if (rule !== undefined) server.rule = rule
    await new Promise<void>((resolve) => server.#proxy.listen(0, '127.0.0.1', resolve))
    return server
  }

  get endpoint(): string {
    return `${this.#scheme}://127.0.0.1:${(this.#proxy.address() as AddressInfo).port}`
  }

  /** For `s3uploader`. */
  get place() {
    return { endpoint: this.endpoint, s3_bucket: BUCKET, s3_force_path_style: true, ...KEYS }
  }

  /** All keys under a prefix, in order. */
  async keys(prefix = ''): Promise<string[]> {
    // From its disk: s3rver refuses the signature of a listing.
    const names = await readdir(join(this.#directory, BUCKET, prefix), { recursive: true })
    const keys = names
      .filter((name) => name.endsWith(OBJECT))
      .map((name) => join(prefix, name.slice(0, -OBJECT.length)))
    return keys.toSorted()
  }

  /** All objects under a prefix, by key in order. Not through the proxy. */
  async objects(prefix = ''): Promise<Map<string, Buffer>> {
    const found = new Map<string, Buffer>()
    for (const key of await this.keys(prefix)) found.set(key, await this.get(key))
    return found
  }

  /** As if the object had been put then. */
  async age(key: string, atMs: number): Promise<void> {
    await utimes(join(this.#directory, BUCKET, `${key}${OBJECT}`), atMs / 1000, atMs / 1000)
  }

  async get(key: string): Promise<Buffer> {
    const { Body } = await this.#reader.send(new GetObjectCommand({ Bucket: BUCKET, Key: key }))
    return Buffer.from((await Body?.transformToByteArray()) ?? [])
  }

  /** As somebody else's. */
  async put(key: string, body: Buffer): Promise<void> {
    await this.#reader.send(new PutObjectCommand({ Bucket: BUCKET, Key: key, Body: body }))
  }

  async close(): Promise<void> {
    this.#reader.destroy()
    this.#proxy.closeAllConnections()
    await new Promise((resolve) => this.#proxy.close(resolve))
    await this.#store.close()
    await rm(this.#directory, { recursive: true, force: true, maxRetries: 5 })
  }

  async #serve(message: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const body = await buffer(message)
      const { method = '', headers } = message
      const path = decodeURIComponent(message.url ?? '')
      const seen = { method, path, headers, bytes: body.length }
      this.requests.push(seen)
      if (!isWhole(headers, body)) this.damaged.push(`${method} ${path}`)
      const answer = await this.rule(seen)
      if (answer === 'hang') return
      if (answer === 'cut') return void message.socket.destroy()
      if (typeof answer === 'object' && 'status' in answer) return refuse(response, answer)
      const asked = new URL(message.url ?? '', 'http://s3').searchParams
      if (asked.get('list-type') === '2') return await this.#list(asked, response)
      const { status, bytes, headers: said } = await this.#forward(message, body)
      if (answer === 'lose') return void message.socket.destroy()
      if (typeof answer === 'object') await delay(answer.lateMs)
      response.writeHead(status, said).end(bytes)
    } catch {
      // The client has gone, or the server is closing.
      message.socket.destroy()
    }
  }

  /** ListObjectsV2, from the store's disk: s3rver refuses the signature of a listing. */
  async #list(asked: URLSearchParams, response: ServerResponse): Promise<void> {
    const [prefix, after, most] = [
      asked.get('prefix'),
      asked.get('continuation-token'),
      asked.get('max-keys'),
    ]
    const names = await readdir(join(this.#directory, BUCKET), { recursive: true })
    const keys = names
      .filter((name) => name.endsWith(OBJECT))
      .map((name) => name.slice(0, -OBJECT.length))
      .filter((key) => key.startsWith(prefix ?? '') && key > (after ?? ''))
      .toSorted()
    const page = keys.slice(0, Number(most ?? 1000))
    const contents = await Promise.all(
      page.map(async (key) => {
        const { size, mtime } = await stat(join(this.#directory, BUCKET, `${key}${OBJECT}`))
        return `<Contents><Key>${key}</Key><LastModified>${mtime.toISOString()}</LastModified><Size>${size}</Size></Contents>`
      }),
    )
    const isCut = page.length < keys.length
    const next = isCut ? `<NextContinuationToken>${page.at(-1)}</NextContinuationToken>` : ''
    const body = `<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><IsTruncated>${isCut}</IsTruncated>${next}${contents.join('')}</ListBucketResult>`
    response.writeHead(200, { 'content-type': 'application/xml' }).end(body)
  }

  #forward(
    { method, url, headers }: IncomingMessage,
    body: Buffer,
  ): Promise<{ status: number; headers: IncomingHttpHeaders; bytes: Buffer }> {
    return new Promise((resolve, reject) => {
      const onward = request(
        { host: '127.0.0.1', port: this.#port, method, path: url, headers },
        (answer) => {
          buffer(answer).then(
            (bytes) => resolve({ status: answer.statusCode ?? 500, headers: answer.headers, bytes }),
            reject,
          )
        },
      )
      onward.on('error', reject)
      onward.end(body)
    })
  }
}

function isWhole(headers: IncomingHttpHeaders, body: Buffer): boolean {
  const digest = createHash('sha256').update(body).digest()
  const signed = headers['x-amz-content-sha256']
  const checksum = headers['x-amz-checksum-sha256']
  const isSigned =
    signed === undefined || !/^[0-9a-f]{64}$/.test(String(signed)) || signed === digest.toString('hex')
  return isSigned && (checksum === undefined || checksum === digest.toString('base64'))
}

function refuse(response: ServerResponse, { status, code }: { status: number; code: string }): void {
  const body = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>said the test</Message></Error>`
  response.writeHead(status, { 'content-type': 'application/xml' }).end(body)
}
