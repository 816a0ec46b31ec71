import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { isSigned } from './sigv4.ts'

const KEYS = { id: 'AKIDTEST', secret: 'a secret of the test', region: 'eu-west-1', service: 'logs' }
/** What PutRetentionPolicy takes, in days. */
const RETENTIONS = new Set([
  1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
])
const DAY_MS = 86_400_000
const MAX_BYTES = 1_048_576

export interface InputEvent {
  readonly timestamp: number
  readonly message: string
}

interface Group {
  readonly tags: Readonly<Record<string, string>>
  readonly created: Readonly<Record<string, unknown>>
  retentionDays?: number
  /** Events by stream, in the order in which they came. */
  readonly streams: Map<string, InputEvent[]>
}

interface Body {
  readonly logGroupName?: string
  readonly logStreamName?: string
  readonly logEvents?: readonly InputEvent[]
  readonly retentionInDays?: number
  readonly tags?: Readonly<Record<string, string>>
}

interface CallSeen {
  readonly operation: string
  readonly headers: IncomingHttpHeaders
  readonly body: Body
}

/** `lose`: it is done and the answer is lost. */
type Answer =
  | 'take'
  | 'lose'
  | 'hang'
  | { readonly status: number; readonly code: string; readonly slowMs?: number }

class Refused extends Error {
  readonly code: string
  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

/**
 * What of CloudWatch Logs an exporter uses, over AWS JSON 1.1: signatures are checked, and the limits that the API
 * reference gives for PutLogEvents, CreateLogGroup, CreateLogStream and PutRetentionPolicy.
 */
export class CloudWatch {
  readonly groups = new Map<string, Group>()
  readonly calls: CallSeen[] = []
  /** Calls that broke a limit, and which. */
  readonly broken: string[] = []
  rule: (call: CallSeen) => Answer | Promise<Answer> = () => 'take'
  readonly #clock: () => number
  readonly #server = createServer((message, response) => void this.#serve(message, response))

  private constructor(clock: () => number) {
    this.#clock = clock
  }

  static async start(clock: () => number): Promise<CloudWatch> {
    const made = new CloudWatch(clock)
    await new Promise<void>((resolve) => made.#server.listen(0, '127.0.0.1', resolve))
    return made
  }

  /** For the config of an exporter. */
  get access() {
    const { port } = this.#server.address() as AddressInfo
    return {
      endpoint: `http://127.0.0.1:${port}`,
      region: KEYS.region,
      access_key_id: KEYS.id,
      secret_access_key: KEYS.secret,
    }
  }

  events(group: string, stream: string): readonly InputEvent[] {
    return this.groups.get(group)?.streams.get(stream) ?? []
  }

  all(): InputEvent[] {
    return Array.from(this.groups.values(), ({ streams }) => Array.from(streams.values()).flat()).flat()
  }

  operations(): string[] {
    return this.calls.map(({ operation }) => operation)
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  async #serve(message: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const bytes = await buffer(message)
      const { method = '', url: path = '', headers } = message
      const operation = String(headers['x-amz-target']).replace('Logs_20140328.', '')
      const call = { operation, headers, body: JSON.parse(bytes.toString()) as Body }
      this.calls.push(call)
      if (!isSigned({ method, path, headers, body: bytes }, KEYS)) {
        return answer(response, 400, { __type: 'InvalidSignatureException', message: 'not signed so' })
      }
      if (headers['content-type'] !== 'application/x-amz-json-1.1') throw new Error('not AWS JSON 1.1')
      const ruling = await this.rule(call)
      if (ruling === 'hang') return
      if (typeof ruling === 'object') {
        await delay(ruling.slowMs ?? 0)
        return answer(response, ruling.status, { __type: ruling.code, message: 'said the test' })
      }
      const said = this.#do(call)
      if (ruling === 'lose') message.socket.destroy()
      else answer(response, 200, said)
    } catch (error) {
      if (error instanceof Refused && error.code === 'InvalidParameterException')
        this.broken.push(error.message)
      if (error instanceof Refused) answer(response, 400, { __type: error.code, message: error.message })
      else message.socket.destroy()
    }
  }

  #do({ operation, body }: CallSeen): object {
    const { logGroupName: name = '', logStreamName: stream = '', tags = {} } = body
    if (operation === 'DescribeLogGroups') return { logGroups: [] }
    check(/^[.\-_/#A-Za-z0-9]{1,512}$/.test(name), 'the name of the group')
    if (operation === 'CreateLogGroup') {
      if (this.groups.has(name)) throw new Refused('ResourceAlreadyExistsException', 'it is there')
      this.groups.set(name, { tags, created: { ...body }, streams: new Map() })
      return {}
    }
    const group = this.groups.get(name)
    if (group === undefined)
      throw new Refused('ResourceNotFoundException', 'The specified log group does not exist.')
    if (operation === 'PutRetentionPolicy') {
      check(RETENTIONS.has(body.retentionInDays ?? 0), 'retentionInDays')
      group.retentionDays = body.retentionInDays ?? 0
      return {}
    }
    check(/^[^:*]{1,512}$/.test(stream), 'the name of the stream')
    if (operation === 'CreateLogStream') {
      if (group.streams.has(stream)) throw new Refused('ResourceAlreadyExistsException', 'it is there')
      group.streams.set(stream, [])
      return {}
    }
    check(operation === 'PutLogEvents', operation)
    const events = group.streams.get(stream)
    if (events === undefined)
      throw new Refused('ResourceNotFoundException', 'The specified log stream does not exist.')
    return this.#put(group, events, body.logEvents ?? [])
  }

  #put(group: Group, stored: InputEvent[], events: readonly InputEvent[]): object {
    const sizes = events.map(({ message }) => Buffer.byteLength(message) + 26)
    check(events.length >= 1 && events.length <= 10_000, '10,000 events')
    check(sizes.reduce((sum, size) => sum + size, 0) <= MAX_BYTES, `Upload too large: ${MAX_BYTES} bytes`)
    check(
      events.every(({ message, timestamp }) => message !== '' && Number.isSafeInteger(timestamp)),
      'an event',
    )
    const times = events.map(({ timestamp }) => timestamp)
    check(
      times.every((time, at) => time >= (times[at - 1] ?? 0)),
      'Log events must be in chronological order',
    )
    const now = this.#clock()
    const oldest = now - 14 * DAY_MS
    const kept = now - (group.retentionDays ?? Infinity) * DAY_MS
    const newest = now + 2 * 3_600_000
    const valid = times.filter((time) => time >= oldest && time <= newest)
    check((valid.at(-1) ?? 0) - (valid[0] ?? 0) <= DAY_MS, 'the batch spans more than 24 hours')
    const tooOld = times.filter((time) => time < oldest).length
    const expired = times.filter((time) => time < kept).length
    const tooNew = times.filter((time) => time > newest).length
    stored.push(...events.slice(Math.max(tooOld, expired), events.length - tooNew))
    const info = {
      ...(tooOld > 0 && { tooOldLogEventEndIndex: tooOld }),
      ...(expired > tooOld && { expiredLogEventEndIndex: expired }),
      ...(tooNew > 0 && { tooNewLogEventStartIndex: events.length - tooNew }),
    }
    return Object.keys(info).length === 0 ? {} : { rejectedLogEventsInfo: info }
  }
}

function check(isRight: boolean, what: string): void {
  if (!isRight) throw new Refused('InvalidParameterException', what)
}

function answer(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/x-amz-json-1.1', 'x-amzn-requestid': 'test' })
  response.end(JSON.stringify(body))
}
