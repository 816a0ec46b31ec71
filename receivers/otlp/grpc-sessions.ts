import { constants, type ServerHttp2Session } from 'node:http2'
import { within } from '../../pipeline/net/within.ts'

/** RFC 9113 section 6.8: the first GOAWAY of a graceful end names no stream yet. */
const NO_STREAM_YET = 2 ** 31 - 1
/** How long an idle sender may take to show up, a sender to answer a ping, or to take the last bytes. */
export const GRACE_MS = 200

interface Calls {
  underWay: number
}

/**
 * The HTTP/2 sessions that have made calls, and the calls under way in them: what stopping must wait for.
 *
 * nghttp2 reads no more from a session that has sent GOAWAY once no stream is open (`nghttp2_session_want_read`;
 * Node has no `submit_shutdown_notice`), so calls on the wire at that moment would be lost. Hence a session is told
 * while a call is open, and that call's answer waits until the sender has answered a ping, i.e. knows of the GOAWAY.
 */
export class GrpcSessions {
  readonly #open = new Map<ServerHttp2Session, Calls>()
  /** Set while stopping: resolves when the sender has heard. */
  readonly #heard = new Map<ServerHttp2Session, Promise<void>>()
  #ending: AbortSignal | undefined
  #onChange = () => {}

  /** A call has begun. */
  add(session: ServerHttp2Session): void {
    const calls = this.#open.get(session) ?? this.#addSession(session)
    calls.underWay++
    if (this.#ending) this.#announce(session, this.#ending)
  }

  /** A call has ended; once for each. */
  delete(session: ServerHttp2Session): void {
    const calls = this.#open.get(session)
    if (calls !== undefined) calls.underWay--
    this.#onChange()
  }

  /** Calls of a connection that have not ended. */
  underWay(session: ServerHttp2Session): number {
    return this.#open.get(session)?.underWay ?? 0
  }

  /** What an answer on this connection must wait for. */
  heard(session: ServerHttp2Session): Promise<void> | undefined {
    return this.#heard.get(session)
  }

  /** No more calls are on the wire or under way, as far as the deadline allows. */
  async drain(deadline: AbortSignal): Promise<void> {
    this.#ending = deadline
    for (const [session, calls] of this.#open) if (calls.underWay > 0) this.#announce(session, deadline)
    const sessions = () => [...this.#open.keys()]
    await within(
      deadline,
      GRACE_MS,
      this.#until(() => sessions().every((session) => this.#heard.has(session))),
    )
    await within(deadline, undefined, Promise.all(this.#heard.values()))
    const calls = () => [...this.#open.values()]
    await within(
      deadline,
      undefined,
      this.#until(() => calls().every((each) => each.underWay === 0)),
    )
  }

  #addSession(session: ServerHttp2Session): Calls {
    const calls = { underWay: 0 }
    this.#open.set(session, calls)
    session.once('close', () => {
      this.#open.delete(session)
      this.#onChange()
    })
    return calls
  }

  #announce(session: ServerHttp2Session, deadline: AbortSignal): void {
    if (this.#heard.has(session) || session.closed || session.destroyed) return
    const pong = new Promise<void>((resolve) => {
      session.once('close', () => resolve())
      session.goaway(constants.NGHTTP2_NO_ERROR, NO_STREAM_YET)
      // The answer to a ping comes after everything the sender had sent when it saw the GOAWAY.
      if (!session.ping(() => resolve())) resolve()
    })
    this.#heard.set(session, within(deadline, GRACE_MS, pong))
    this.#onChange()
  }

  #until(condition: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#onChange = () => {
        if (condition()) resolve()
      }
      this.#onChange()
    })
  }
}
