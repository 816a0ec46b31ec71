/** A `host:port` as written in a config, taken apart. */
export interface Endpoint {
  /** As `net.Server.listen` wants it; '' binds every interface, as in Go. */
  readonly host: string
  readonly port: number
}

/** `127.0.0.1:4317`, `[::1]:4317`, `:4317`. The config schema has checked the form. */
export function parseEndpoint(text: string): Endpoint {
  const colon = text.lastIndexOf(':')
  const host = text.slice(0, colon).replace(/^\[|\]$/g, '')
  // Go's listener prefers IPv4 for `localhost`, and senders are configured with 127.0.0.1.
  return { host: host === 'localhost' ? '127.0.0.1' : host, port: Number(text.slice(colon + 1)) }
}

export function formatEndpoint(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
