import { reject } from '../fault.ts'
import { parseEndpoint } from './endpoint.ts'

export interface Exposure {
  /** The component id, for the message. */
  readonly component: string
  readonly endpoint: string
  readonly tls: boolean
  /** Senders must prove who they are. */
  readonly authenticated: boolean
  /** The operator's word that the network is safe: config key `insecure_bind`. */
  readonly insecureBind: boolean
}

/** Throws START_FAILED for an address that others can reach while nothing protects it (contract section 3). */
export function checkExposure(exposure: Exposure): void {
  if (exposure.tls || exposure.authenticated || exposure.insecureBind) return
  if (isLoopback(parseEndpoint(exposure.endpoint).host)) return
  throw reject(
    'START_FAILED',
    `${exposure.component}: endpoint ${exposure.endpoint} is reachable from other machines without TLS or auth; ` +
      'use 127.0.0.1, add a tls block or the auth processor, or set insecure_bind: true',
  )
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^(::ffff:)?127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host)
}
