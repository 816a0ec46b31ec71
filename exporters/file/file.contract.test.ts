import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { gunzipSync } from 'node:zlib'
import type { Exporter } from '../../pipeline/component.ts'
import { retry } from '../../pipeline/fault.ts'
import { deliveryContract, type Judge } from '../../test/contract/delivery.ts'
import { exporterContext, exporterContract } from '../../test/contract/exporter.ts'
import { checkpointPath } from './checkpoint.ts'
import { config } from './config.ts'
import { file } from './factory.ts'

const fileMaker = await file.load()

const SPAN_ID = /"spanId":"([0-9a-f]{16})"/g

function idsIn(folder: string): string[] {
  const files = readdirSync(folder).filter((name) => name.endsWith('.jsonl.gz'))
  return files.flatMap((name) => {
    const bytes = readFileSync(join(folder, name))
    const text = bytes.length === 0 ? '' : gunzipSync(bytes).toString()
    return Array.from(text.matchAll(SPAN_ID), ([, id = '']) => id)
  })
}

/** A disk that fails when the data is written and the checkpoint is not, or answers too late. */
function flaky(exporter: Exporter, path: string, judge: Judge): Exporter {
  return {
    start: () => exporter.start?.() ?? Promise.resolve(),
    stop: (deadline) => exporter.stop?.(deadline) ?? Promise.resolve(),
    consume: (batch, signal) => exporter.consume(batch, signal),
    async deliver(delivery, signal) {
      const { ruling, slowMs } = judge(() => false)
      await delay(slowMs)
      const blocker = `${checkpointPath(path)}.new`
      if (ruling === 'refuse') mkdirSync(blocker)
      try {
        const outcome = await exporter.deliver?.(delivery, signal)
        if (ruling === 'lose') throw retry('EXPORT_UNAVAILABLE', 'lost')
        return outcome ?? { rejected: [] }
      } finally {
        if (ruling === 'refuse') rmdirSync(blocker)
      }
    },
  }
}

const more = { compression: 'gzip', rotation: { max_megabytes: 0.05, max_backups: 0 } }

deliveryContract({
  name: 'file',
  exactlyOnce: true,
  weathers: ['accept', 'retry', 'slow', 'restart'],
  open: (judge) => {
    const folder = mkdtempSync(join(tmpdir(), 'weir-file-'))
    const path = join(folder, 'traces.jsonl.gz')
    return Promise.resolve({
      make: () =>
        flaky(fileMaker.create(config.parse({ path, ...more }), exporterContext('file')), path, judge),
      stored: () => Promise.resolve(idsIn(folder)),
      close: () => Promise.resolve(rmSync(folder, { recursive: true })),
    })
  },
})

exporterContract({
  name: 'file',
  exactlyOnce: true,
  make: () => {
    const folder = mkdtempSync(join(tmpdir(), 'weir-file-'))
    const path = join(folder, 'traces.jsonl.gz')
    return Promise.resolve({
      exporter: fileMaker.create(config.parse({ path, ...more }), exporterContext('file')),
      stored: () => Promise.resolve(idsIn(folder)),
      close: () => Promise.resolve(rmSync(folder, { recursive: true })),
    })
  },
})
