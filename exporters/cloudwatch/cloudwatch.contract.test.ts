import { setTimeout as delay } from 'node:timers/promises'
import { deliveryContract, type Destination, type Judge, type Weather } from '../../test/contract/delivery.ts'
import { exporterContext, exporterContract, RECEIVED_AT_MS } from '../../test/contract/exporter.ts'
import { CloudWatch } from '../../test/support/cloudwatch.ts'
import { cloudwatch } from './factory.ts'
import { config } from './config.ts'

const cloudwatchMaker = await cloudwatch.load()

async function destination(judge: Judge, weather: Weather): Promise<Destination> {
  const server = await CloudWatch.start(() => RECEIVED_AT_MS)
  server.rule = async ({ operation, body }) => {
    if (operation !== 'PutLogEvents') return 'take'
    const ids = new Set(body.logEvents?.map(({ message }) => idOf(message)))
    const { ruling, slowMs } = judge((id) => ids.has(id))
    await delay(slowMs)
    if (ruling === 'refuse') return { status: 400, code: 'ThrottlingException' }
    if (ruling === 'reject') return { status: 400, code: 'InvalidParameterException' }
    return ruling === 'lose' || ruling === 'hang' ? ruling : 'take'
  }
  // Only what hangs is given up: a late answer would be a repeat that nobody has asked for.
  const timeout = weather === 'hang' ? '400ms' : '60s'
  // The SDK's own repeats would hide the weather from the WAL reader.
  const options = config.parse({ ...server.access, retry_mode: 'nop', timeout })
  return {
    make: () => cloudwatchMaker.create(options, exporterContext('cloudwatch')),
    stored: () => Promise.resolve(server.all().map(({ message }) => idOf(message))),
    close: () => server.close(),
  }
}

function idOf(message: string): string {
  return (JSON.parse(message) as { span_id: string }).span_id
}

// Not `partial`: AWS leaves out single events only by their time, which cloudwatch.test.ts has.
deliveryContract({
  name: 'cloudwatch',
  exactlyOnce: false,
  weathers: ['accept', 'retry', 'reject', 'slow', 'hang', 'restart'],
  spans: 5000,
  open: destination,
})

exporterContract({
  name: 'cloudwatch',
  exactlyOnce: false,
  make: async () => {
    const place = await destination(() => ({ ruling: 'take', bad: [], slowMs: 0 }), 'accept')
    return {
      exporter: place.make(),
      stored: async () => [...(await place.stored())],
      close: () => place.close(),
    }
  },
})
