import type { IncomingMessage } from 'node:http'
import { POOL } from '../../proto/buffer-pool.ts'
import { retry } from '../fault.ts'
import { tooLarge } from './inflate.ts'
import { Refusal } from './refusal.ts'

export interface BodyLimits {
  readonly maxBytes: number
  readonly timeoutMs: number
  /** Hears of every chunk before it is kept; may throw. */
  readonly take: (bytes: number) => void
}

/** The whole body as sent. Throws when it is too large, too slow, or the sender goes away. */
export function readBody(request: IncomingMessage, limits: BodyLimits): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let length = 0
    const settle = (settleWith: () => void) => {
      clearTimeout(timer)
      request.off('data', onData).off('end', onEnd).off('close', onClose).off('error', onClose)
      // An error after the answer must not become an uncaught one.
      request.on('error', () => {})
      settleWith()
    }
    const onData = (chunk: Buffer) => {
      try {
        length += chunk.length
        if (length > limits.maxBytes) throw tooLarge(limits.maxBytes)
        limits.take(chunk.length)
        chunks.push(chunk)
      } catch (error) {
        request.pause()
        settle(() => reject(error))
      }
    }
    const onEnd = () => settle(() => resolve(POOL.join(chunks, length)))
    const onClose = () =>
      settle(() => reject(retry('CANCELLED', 'the sender went away before the body ended')))
    const onTimeout = () => settle(() => reject(tooSlow(limits.timeoutMs)))
    const timer = setTimeout(onTimeout, limits.timeoutMs)
    request.on('data', onData).on('end', onEnd).on('close', onClose).on('error', onClose)
  })
}

function tooSlow(timeoutMs: number): Refusal {
  return new Refusal(408, `the request body did not arrive within ${timeoutMs} ms`)
}
