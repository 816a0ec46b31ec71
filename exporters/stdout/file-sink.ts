import { EventEmitter } from 'node:events'
import { write } from 'node:fs'
import type { Sink } from './stdout.ts'

type WriteCall = (fd: number, bytes: Buffer, done: (error: Error | null, written: number) => void) => void

const NEWLINE = Buffer.from('\n')

/**
 * Standard output that is a file or a device. Node's own stream for these throws out of `write` when the disk is full,
 * is stuck from then on, and does not notice a write that was cut short. Here a failure is that of its batch, and the
 * next one tries again, on a line of its own.
 */
export class FileSink extends EventEmitter implements Sink {
  readonly isTTY = false
  readonly destroyed = false
  readonly #fd: number
  readonly #write: WriteCall
  #torn = false

  constructor(fd: number, call: WriteCall = write) {
    super()
    this.#fd = fd
    this.#write = call
  }

  write(text: string, done: (error?: Error | null) => void): void {
    const bytes = Buffer.from(text)
    this.#put(this.#torn ? Buffer.concat([NEWLINE, bytes]) : bytes, done)
  }

  #put(bytes: Buffer, done: (error?: Error | null) => void): void {
    this.#write(this.#fd, bytes, (error, written) => {
      if (error !== null) return done(error)
      this.#torn = written < bytes.length
      if (this.#torn) this.#put(bytes.subarray(written), done)
      else done()
    })
  }
}
