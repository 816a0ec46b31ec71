import type { Socket } from 'node:net'

/** Bound sockets that outlive the component that uses them, so that a reload refuses no connection. */
export interface Listeners {
  /**
   * Binds `endpoint` (`host:port`, port 0 for any) or takes over the socket that is already bound there; raw TCP
   * connections go to `onConnection` from now on. Fault START_FAILED names the endpoint and the holder when taken.
   */
  listen(endpoint: string, onConnection: (socket: Socket) => void): Promise<Listening>
}

export interface Listening {
  /** As bound, `host:port`. */
  readonly address: string
  readonly port: number
  /** Stop getting connections. With a reload under way they wait for the next owner, else the socket is closed. */
  release(): Promise<void>
}
