import { createHash } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { expect } from 'vitest'
import { deliveryContract, type Destination, type Judge } from '../../test/contract/delivery.ts'
import { exporterContext, exporterContract } from '../../test/contract/exporter.ts'
import { idsIn, isData } from '../../test/s3/read-back.ts'
import { S3Server, type S3Answer } from '../../test/support/s3-server.ts'
import { config } from './config.ts'
import { s3 } from './factory.ts'
import type { Manifest } from './manifest.ts'

const s3Maker = await s3.load()

const ANSWERS: Readonly<Record<string, S3Answer>> = {
  take: 'take',
  refuse: { status: 503, code: 'SlowDown' },
  lose: 'lose',
  hang: 'hang',
}

async function destination(marshaler: string, judge: Judge): Promise<Destination> {
  const server = await S3Server.start(async ({ method }) => {
    if (method !== 'PUT') return 'take'
    const { ruling, slowMs } = judge(() => false)
    await delay(slowMs)
    return ANSWERS[ruling] ?? 'take'
  })
  // The SDK's own repeats would hide the weather from the WAL reader.
  const s3uploader = { ...server.place, retry_mode: 'nop', s3_prefix: 'archive' }
  const options = config.parse({ s3uploader, marshaler, timeout: '1s', batch: { max_wait: '0s' } })
  return {
    make: () => s3Maker.create(options, exporterContext('s3')),
    stored: async () => {
      const objects = await server.objects()
      expectListed(objects)
      expect(server.damaged).toEqual([])
      return idsIn(objects)
    },
    close: () => server.close(),
  }
}

/** Every object is in one manifest, as it is; no manifest names another. */
function expectListed(objects: ReadonlyMap<string, Buffer>): void {
  const manifests = [...objects].filter(([key]) => !isData(key))
  const listed = manifests.flatMap(([, bytes]) => (JSON.parse(bytes.toString()) as Manifest).objects)
  const found = [...objects].filter(([key]) => isData(key))
  expect(listed.map(({ key }) => key).toSorted()).toEqual(found.map(([key]) => key))
  for (const { key, sha256, bytes } of listed) {
    const body = objects.get(key) ?? Buffer.of()
    expect({ key, bytes, sha256 }).toEqual({
      key,
      bytes: body.length,
      sha256: createHash('sha256').update(body).digest('hex'),
    })
  }
}

for (const marshaler of ['otlp_proto', 'otlp_json', 'parquet']) {
  const name = `s3 ${marshaler}`
  deliveryContract({
    name,
    exactlyOnce: true,
    weathers:
      marshaler === 'otlp_proto' ? ['accept', 'retry', 'slow', 'hang', 'restart'] : ['accept', 'retry'],
    spans: marshaler === 'parquet' ? 3000 : 5000,
    open: (judge) => destination(marshaler, judge),
  })
  exporterContract({
    name,
    exactlyOnce: true,
    make: async () => {
      const place = await destination(marshaler, () => ({ ruling: 'take', bad: [], slowMs: 0 }))
      return {
        exporter: place.make(),
        stored: async () => [...(await place.stored())],
        close: () => place.close(),
      }
    },
  })
}
