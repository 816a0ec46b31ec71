import { Agent } from 'node:http'
import type { Context } from '../../pipeline/factory.ts'
import type { Entry } from '../../pipeline/admission.ts'
import {
  ask,
  JSON_TYPE,
  PROTOBUF,
  RawGrpcClient,
  readTraceResponse,
  tracesJson,
  tracesRequest,
} from '../../test/contract/otlp-clients.ts'
import { receiverContract, type Answer } from '../../test/contract/receiver.ts'
import type { Receiver } from '../../pipeline/component.ts'
import { otlp } from './factory.ts'
import type { OtlpReceiver } from './otlp.ts'

const otlpMaker = await otlp.load()

const create = (protocols: unknown) => (context: Context, next: Entry) =>
  otlpMaker.create(otlp.config.parse({ protocols }), context, next)

const address = (receiver: Receiver, protocol: string) =>
  (receiver as OtlpReceiver).addresses.get(protocol) ?? ''
const port = (receiver: Receiver) => Number(address(receiver, 'http').split(':')[1])

/** OTLP specification, "Failures": RESOURCE_EXHAUSTED is retryable only with RetryInfo. */
const RETRYABLE = new Set([1, 4, 10, 11, 14, 15])

receiverContract('otlp/grpc', {
  create: create({ grpc: { endpoint: '127.0.0.1:0' } }),
  sender: (receiver) => {
    const client = new RawGrpcClient(address(receiver, 'grpc'))
    return {
      send: async (id): Promise<Answer> => {
        const { code, response, details } = await client.export(tracesRequest(id))
        if (code === 0) return response && 'partialSuccess' in response ? 'partial' : 'accepted'
        return RETRYABLE.has(code) || details?.retryDelayMs !== undefined ? 'retry' : 'rejected'
      },
      close: () => client.close(),
    }
  },
})

const overHttp = (format: 'protobuf' | 'json') => (receiver: Receiver) => {
  const agent = new Agent({ keepAlive: true })
  const send = async (id: string): Promise<Answer> => {
    const json = format === 'json'
    const body = json ? tracesJson(id) : tracesRequest(id)
    const answer = await ask(port(receiver), { headers: json ? JSON_TYPE : PROTOBUF, body, agent })
    if ([429, 502, 503, 504].includes(answer.status)) return 'retry'
    if (answer.status !== 200) return 'rejected'
    const response = json ? JSON.parse(String(answer.body)) : readTraceResponse(answer.body)
    return 'partialSuccess' in response ? 'partial' : 'accepted'
  }
  return { send, close: () => agent.destroy() }
}

receiverContract('otlp/http protobuf', {
  create: create({ http: { endpoint: '127.0.0.1:0' } }),
  sender: overHttp('protobuf'),
})
receiverContract('otlp/http json', {
  create: create({ http: { endpoint: '127.0.0.1:0' } }),
  sender: overHttp('json'),
})
