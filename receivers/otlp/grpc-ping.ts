import { constants, type ServerHttp2Session } from 'node:http2'

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
  readonly #underWay: (session: ServerHttp2Session) => number
  readonly #watched = new WeakSet<ServerHttp2Session>()

  /** `underWay`: the requests of a connection that are not answered yet. */
  constructor(minMs: number, permitIdle: boolean, underWay: (session: ServerHttp2Session) => number) {
    this.#minMs = minMs
    this.#permitIdle = permitIdle
    this.#underWay = underWay
  }

  /** Call at each request; the first one makes the connection watched. */
  watch(session: ServerHttp2Session): void {
    if (this.#watched.has(session)) return
    this.#watched.add(session)
    let last = Number.NEGATIVE_INFINITY
    let strikes = 0
    session.on('stream', () => (strikes = 0))
    session.on('ping', () => {
      const now = performance.now()
      const minimum = this.#underWay(session) > 0 || this.#permitIdle ? this.#minMs : IDLE_MINIMUM_MS
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
