import { setTimeout as delay } from 'node:timers/promises'
import { decodeBatch } from '../../pipeline/batch/otlp-batch.ts'
import { deliveryContract, type Destination, type Judge, type Weather } from '../../test/contract/delivery.ts'
import { exporterContext, exporterContract, testBatch } from '../../test/contract/exporter.ts'
import {
  startGrpc,
  startHttp,
  type Handler,
  type OtlpServer,
  type Said,
  type Seen,
} from '../../test/support/otlp-server.ts'
import { config } from './config.ts'
import { otlp } from './factory.ts'

const otlpMaker = await otlp.load()

const KINDS = {
  grpc: { start: startGrpc, refusal: { code: 14 }, rejection: { code: 3, message: 'a bad span' } },
  http: { start: startHttp, refusal: { code: 503 }, rejection: { code: 400, message: 'a bad span' } },
} as const

/** A server that keeps what it took, in the weather that `judge` makes. */
async function destination(
  kind: keyof typeof KINDS,
  judge: Judge,
  encoding: string,
  weather: Weather,
): Promise<Destination> {
  const { start, refusal, rejection } = KINDS[kind]
  const stored: string[] = []
  const keep = (ids: readonly string[], but: readonly string[] = []): void => {
    stored.push(...ids.filter((id) => !but.includes(id)))
  }
  const handler: Handler = async (seen): Promise<Said> => {
    const ids = idsOf(seen)
    const known = new Set(ids)
    const { ruling, bad, slowMs } = judge((id) => known.has(id))
    await delay(slowMs)
    if (ruling === 'refuse') return refusal
    if (ruling === 'hang') return 'hang'
    if (ruling === 'reject') return rejection
    keep(ids, ruling === 'partial' ? bad : [])
    if (ruling === 'lose') return 'drop'
    return ruling === 'partial'
      ? { ok: true, partial: { rejected: bad.length, message: 'bad ones' } }
      : { ok: true }
  }
  const server: OtlpServer = await start(handler)
  const options = {
    endpoint: server.address,
    protocol: kind,
    encoding,
    tls: { insecure: true },
    // Only what hangs is given up: a late answer would be a repeat that nobody has asked for.
    timeout: weather === 'hang' ? '1s' : '60s',
    batch: { max_spans: 600 },
  }
  return {
    make: () => otlpMaker.create(config.parse(options), exporterContext('otlp')),
    stored: () => Promise.resolve(stored),
    close: () => server.close(),
  }
}

function idsOf({ body, headers }: Seen): string[] {
  if (headers['content-type']?.includes('json') === true) {
    return Array.from(body.toString().matchAll(/"spanId":"([0-9a-f]{16})"/g), ([, id = '']) => id)
  }
  const batch = decodeBatch(body, testBatch([]).meta)
  return Array.from({ length: batch.rows }, (_, row) => Buffer.from(batch.spanId(row)).toString('hex'))
}

for (const [kind, encoding] of [
  ['grpc', 'proto'],
  ['http', 'proto'],
  ['http', 'json'],
] as const) {
  const name = `otlp ${kind} ${encoding}`
  deliveryContract({
    name,
    exactlyOnce: false,
    weathers: ['accept', 'retry', 'reject', 'partial', 'slow', 'hang', 'restart'],
    spans: encoding === 'json' ? 3000 : 5000,
    open: (judge, weather) => destination(kind, judge, encoding, weather),
  })
  exporterContract({
    name,
    exactlyOnce: false,
    make: async () => {
      const all: Judge = () => ({ ruling: 'take', bad: [], slowMs: 0 })
      const place = await destination(kind, all, encoding, 'accept')
      return {
        exporter: place.make(),
        stored: async () => [...(await place.stored())],
        close: () => place.close(),
      }
    },
  })
}
