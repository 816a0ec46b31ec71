import type { Socket } from 'node:net'
import type { NatsConnection } from '@nats-io/transport-node'

export interface WholeMessage {
  readonly subject: string
  readonly reply: string
  readonly id: string
  readonly stream: string
  readonly parts: readonly Uint8Array[]
  /** Of all parts. */
  readonly bytes: number
}

/** What the NATS client keeps private. `jetstream-socket.test.ts` fails when an upgrade moves it. */
interface Insides {
  readonly protocol?: {
    readonly connected?: boolean
    readonly infoReceived?: boolean
    readonly noMorePublishing?: boolean
    readonly flushPending?: () => void
    readonly transport?: { readonly socket?: Socket }
  }
}

const CRLF = Buffer.from('\r\n')

/**
 * Writes a message to the connection's socket part by part. `nc.publish` wants it in one piece and copies that into
 * another: for large messages two buffers of their size, which made a fifth of the intake's CPU garbage collection.
 * False when the connection is not up, or its insides are not as expected: then publish.
 */
export function writeWhole(nc: NatsConnection, message: WholeMessage): boolean {
  const { protocol } = nc as unknown as Insides
  const socket = protocol?.transport?.socket
  if (protocol?.flushPending === undefined || socket === undefined || !socket.writable) return false
  if (!protocol.connected || !protocol.infoReceived || protocol.noMorePublishing) return false
  protocol.flushPending()
  const { subject, reply, id, stream, parts, bytes } = message
  const headers = `NATS/1.0\r\nNats-Msg-Id: ${id}\r\nNats-Expected-Stream: ${stream}\r\n\r\n`
  const command = `HPUB ${subject} ${reply} ${headers.length} ${headers.length + bytes}\r\n`
  socket.cork()
  socket.write(Buffer.from(command + headers, 'latin1'))
  for (const part of parts) socket.write(part)
  socket.write(CRLF)
  socket.uncork()
  return true
}
