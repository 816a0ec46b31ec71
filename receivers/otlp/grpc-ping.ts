import { constants, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2'

/** grpc-go forgives two early pings before it hangs up. */
const STRIKES = 2
const IDLE_MINIMUM_MS = 2 * 3_600_000

/**
 * `keepalive.enforcement_policy` as grpc-go has it: a sender that pings more often than `min_time`, or without a
 * request under way where that is not permitted (then every 2 h), is told GOAWAY ENHANCE_YOUR_CALM. grpc-js servers
 * have no such policy. A connection is watched from its first request on.
 */
export class PingPolicy {
  readonly #minMs: number
  readonly #permitIdle: boolean
  readonly #watched = new WeakSet<ServerHttp2Session>()

  constructor(minMs: number, permitIdle: boolean) {
    this.#minMs = minMs
    this.#permitIdle = permitIdle
  }

  /** Call at each request; the first one makes the connection watched. */
  watch(session: ServerHttp2Session, first: ServerHttp2Stream): void {
    if (this.#watched.has(session)) return
    this.#watched.add(session)
    let last = Number.NEGATIVE_INFINITY
    let strikes = 0
    let underWay = 0
    const onStream = (stream: ServerHttp2Stream) => {
      strikes = 0
      underWay++
      stream.once('close', () => underWay--)
    }
    onStream(first)
    session.on('stream', onStream)
    session.on('ping', () => {
      const now = performance.now()
      const minimum = underWay > 0 || this.#permitIdle ? this.#minMs : IDLE_MINIMUM_MS
      if (now - last < minimum) strikes++
      last = now
      if (strikes > STRIKES) hangUp(session)
    })
  }
}

function hangUp(session: ServerHttp2Session): void {
  if (session.destroyed) return
  session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM, 0, Buffer.from('too_many_pings'))
  session.destroy()
}
