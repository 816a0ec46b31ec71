import type { OrderedReader } from '../nats/ordered.ts'
import type { Delivered } from '../nats/pull.ts'
import type { WalMessage, WalPort } from './driver.ts'

/** Ends the subject of what fills the place of lost messages; no tenant has such a name. */
export const FILLER = '.lost.LOST'

/** A position in the stream, in the WAL's words. */
export class JetStreamPort implements WalPort {
  readonly #reader: OrderedReader
  readonly #onClose: (port: JetStreamPort) => void
  #from: number

  constructor(reader: OrderedReader, from: number, onClose: (port: JetStreamPort) => void) {
    this.#reader = reader
    this.#from = from
    this.#onClose = onClose
  }

  async next(maxBytes: number, signal: AbortSignal): Promise<WalMessage[]> {
    for (;;) {
      const found = (await this.#reader.next(maxBytes, signal)).map(walMessage)
      // The server begins earlier where the stream ends before the position; what was passed is filled up there.
      const fresh = found.filter(({ seq, lost }) => lost !== true || seq >= this.#from)
      this.#from = (fresh.at(-1)?.seq ?? this.#from - 1) + 1
      if (fresh.length > 0 || found.length === 0) return fresh
    }
  }

  seek(from: number): Promise<void> {
    this.#from = from
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
  const at = message.subject.lastIndexOf('.')
  // The client's is a view of whatever came with it from the socket.
  const found = { seq, timeMs, signal: 'traces', bytes: Buffer.from(message.data) } as const
  if (message.subject.endsWith(FILLER)) return { ...found, tenant: '', lost: true }
  return { ...found, tenant: message.subject.slice(at + 1) }
}
