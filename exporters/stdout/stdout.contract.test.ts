import { Writable } from 'node:stream'
import { deliveryContract, type Judge } from '../../test/contract/delivery.ts'
import { exporterContract } from '../../test/contract/exporter.ts'
import { config } from './config.ts'
import { FileSink } from './file-sink.ts'
import { StdoutExporter } from './stdout.ts'

const SPAN_ID = /"spanId":"([0-9a-f]{16})"/g

/** A standard output that is a file: what was written is there, and a write may fail before, in or after its work. */
class Disk {
  text = ''
  readonly sink: FileSink

  constructor(judge: Judge) {
    this.sink = new FileSink(1, (_fd, bytes, done) => {
      const text = bytes.toString()
      const { ruling, slowMs } = judge((id) => text.includes(id))
      const full = Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' })
      if (ruling === 'hang') return
      if (ruling === 'refuse') return done(full, 0)
      this.text += text
      setTimeout(() => done(ruling === 'lose' ? full : null, bytes.length), slowMs)
    })
  }

  ids(): string[] {
    return Array.from(this.text.matchAll(SPAN_ID), ([, id = '']) => id)
  }
}

deliveryContract({
  name: 'stdout',
  exactlyOnce: false,
  weathers: ['accept', 'retry', 'slow', 'restart'],
  open: (judge) => {
    const disk = new Disk(judge)
    return Promise.resolve({
      make: () => new StdoutExporter(config.parse({ format: 'json' }), disk.sink, false),
      stored: () => Promise.resolve(disk.ids()),
      close: () => Promise.resolve(),
    })
  },
})

exporterContract({
  name: 'stdout',
  exactlyOnce: false,
  make: () => {
    let text = ''
    const sink = new Writable({
      write(chunk: Buffer, _, done) {
        text += chunk.toString()
        done()
      },
    })
    return Promise.resolve({
      exporter: new StdoutExporter(config.parse({ format: 'json' }), sink, false),
      stored: () => Promise.resolve(Array.from(text.matchAll(SPAN_ID), ([, id = '']) => id)),
      close: () => Promise.resolve(),
    })
  },
})
