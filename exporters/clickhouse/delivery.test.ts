import { afterAll, beforeAll } from 'vitest'
import { startClickHouse, type Interception, type TestServer } from '../../test/clickhouse-http.ts'
import { deliveryContract, type Judge } from '../../test/contract/delivery.ts'
import { exporterContext } from '../../test/contract/exporter.ts'
import { config } from './config.ts'
import { clickhouse } from './factory.ts'

const clickhouseMaker = await clickhouse.load()

let server: TestServer
let second: TestServer
let databases = 0
beforeAll(async () => {
  server = await startClickHouse()
  second = await server.second()
})
afterAll(async () => {
  await second.close()
  await server.close()
})

const isInsert = (sql: string) => sql.startsWith('INSERT') && sql.endsWith('FORMAT Native')

/** How a server behaves so over its HTTP interface. A row that cannot be parsed fails its whole block. */
function interception(judge: Judge, body: Buffer): Interception | undefined {
  const { ruling, slowMs } = judge((id) => body.includes(id))
  if (ruling === 'refuse') return { status: 500, code: 241, message: 'memory limit exceeded' }
  if (ruling === 'lose') return { drop: 'after' }
  if (ruling === 'hang') return { hang: true }
  if (ruling === 'reject') return { status: 400, code: 117, message: 'incorrect data' }
  return slowMs > 0 ? { slowMs } : undefined
}

async function storedIn(database: string): Promise<string[]> {
  const sql = `SELECT SpanId FROM ${database}.otel_traces`
  const { data } = (await server.session.queryAsync(sql, { format: 'JSONCompact' })).json<{
    data: [string][]
  }>()
  return data.map(([id]) => id)
}

deliveryContract({
  name: 'clickhouse, server',
  exactlyOnce: true,
  weathers: ['accept', 'retry', 'reject', 'slow', 'hang', 'restart'],
  deadlineMs: 1500,
  open: (judge) => {
    const database = `db_${++databases}`
    server.intercept = ({ sql, body }) => (isInsert(sql) ? interception(judge, body) : undefined)
    return Promise.resolve({
      make: () =>
        clickhouseMaker.create(
          config.parse({ endpoint: server.url, database, timeout: '1s' }),
          exporterContext('clickhouse'),
        ),
      stored: () => storedIn(database),
      close: () => {
        server.intercept = undefined
        return Promise.resolve()
      },
    })
  },
})

// Answers are lost, late and refused on both; a repeat goes to the other one.
deliveryContract({
  name: 'clickhouse, two endpoints',
  exactlyOnce: true,
  weathers: ['retry', 'hang'],
  deadlineMs: 1500,
  open: (judge) => {
    const database = `db_${++databases}`
    const intercept: TestServer['intercept'] = ({ sql, body }) =>
      isInsert(sql) ? interception(judge, body) : undefined
    server.intercept = intercept
    second.intercept = intercept
    return Promise.resolve({
      make: () =>
        clickhouseMaker.create(
          config.parse({ endpoints: [server.url, second.url], database, timeout: '1s' }),
          exporterContext('clickhouse'),
        ),
      stored: () => storedIn(database),
      close: () => {
        server.intercept = undefined
        second.intercept = undefined
        return Promise.resolve()
      },
    })
  },
})
