import type { OrderedReader } from '../nats/ordered.ts'
import type { Delivered } from '../nats/pull.ts'
import type { WalMessage, WalPort } from './driver.ts'

/** A position in the stream, in the WAL's words. */
export class JetStreamPort implements WalPort {
  readonly #reader: OrderedReader
  readonly #onClose: (port: JetStreamPort) => void

  constructor(reader: OrderedReader, onClose: (port: JetStreamPort) => void) {
    this.#reader = reader
    this.#onClose = onClose
  }

  async next(maxBytes: number, signal: AbortSignal): Promise<WalMessage[]> {
    return (await this.#reader.next(maxBytes, signal)).map(walMessage)
  }

  seek(from: number): Promise<void> {
    return this.#reader.seek(from)
  }

  reconnected(): void {
    this.#reader.reconnected()
  }

  async close(): Promise<void> {
    this.#onClose(this)
    await this.#reader.close()
  }
}

function walMessage({ seq, timeMs, message }: Delivered): WalMessage {
  const tenant = message.subject.slice(message.subject.lastIndexOf('.') + 1)
  return { seq, timeMs, signal: 'traces', tenant, bytes: message.data }
}
