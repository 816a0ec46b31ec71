import { readFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { checkServerIdentity, type ConnectionOptions as NodeTlsOptions, type PeerCertificate } from 'node:tls'
import {
  connect,
  credsAuthenticator,
  nkeyAuthenticator,
  type ConnectionOptions,
  type NatsConnection,
  type NodeConnectionOptions,
  type TlsOptions,
} from '@nats-io/transport-node'
import { messageOf, reject } from '../fault.ts'
import type { NatsOptions } from './options.ts'

const CONNECT_TIMEOUT_MS = 5000
const PING_MS = 4000
const RECONNECT_MS = 100
const RECONNECT_JITTER_MS = 200

/** Connects once, or throws START_FAILED; from then on reconnects for ever. `name` is what `nats server report` shows. */
export async function connectNats(options: NatsOptions, name: string): Promise<NatsConnection> {
  try {
    return await connect(await connectionOptions(options, name))
  } catch (error) {
    throw reject(
      'START_FAILED',
      `cannot connect to NATS at ${options.servers.join(', ')} (servers): ${messageOf(error)}. ` +
        'Start nats-server with JetStream (`nats-server -js`), or correct servers, credentials or tls',
      { cause: error },
    )
  }
}

async function connectionOptions(options: NatsOptions, name: string): Promise<NodeConnectionOptions> {
  return {
    servers: options.servers,
    name,
    timeout: CONNECT_TIMEOUT_MS,
    maxReconnectAttempts: -1,
    reconnectTimeWait: RECONNECT_MS,
    reconnectJitter: RECONNECT_JITTER_MS,
    reconnectJitterTLS: RECONNECT_JITTER_MS,
    // A server that restarts with auth reloading may refuse for a while: go on trying.
    ignoreAuthErrorAbort: true,
    // A connection that is open and dead is found within 12 s.
    pingInterval: PING_MS,
    maxPingOut: 2,
    ...(await authentication(options)),
    ...tls(options),
  }
}

async function authentication(options: NatsOptions): Promise<Partial<ConnectionOptions>> {
  if (options.credentials_file !== undefined) {
    return { authenticator: credsAuthenticator(await readFile(options.credentials_file)) }
  }
  if (options.nkey_seed_file !== undefined) {
    const seed = (await readFile(options.nkey_seed_file, 'utf8')).trim()
    return { authenticator: nkeyAuthenticator(Buffer.from(seed)) }
  }
  return {
    ...(options.token && { token: options.token.reveal() }),
    ...(options.user !== undefined && { user: options.user }),
    ...(options.password && { pass: options.password.reveal() }),
  }
}

/** The transport hands what it does not know on to node:tls. */
type Settings = TlsOptions & Pick<NodeTlsOptions, 'rejectUnauthorized' | 'checkServerIdentity'>

function tls({ tls, servers }: NatsOptions): { tls?: TlsOptions } {
  if (tls === undefined) return {}
  const settings: Settings = {
    checkServerIdentity: (host, certificate) => checkIdentity(host, certificate, servers),
    handshakeFirst: tls.handshake_first,
    ...(tls.ca_file !== undefined && { caFile: tls.ca_file }),
    ...(tls.cert_file !== undefined && { certFile: tls.cert_file }),
    ...(tls.key_file !== undefined && { keyFile: tls.key_file }),
    ...(tls.insecure_skip_verify && { rejectUnauthorized: false }),
  }
  return { tls: settings }
}

/**
 * For a server given as an IP address the transport names no host, and node:tls then checks for `localhost`: the
 * certificate must be for one of the configured addresses instead.
 */
function checkIdentity(
  host: string,
  certificate: PeerCertificate,
  servers: readonly string[],
): Error | undefined {
  const addresses = servers.map(hostOf).filter((name) => isIP(name) !== 0)
  if (host !== 'localhost' || addresses.length === 0) return checkServerIdentity(host, certificate)
  const doubts = addresses.map((address) => checkServerIdentity(address, certificate))
  return doubts.includes(undefined) ? undefined : doubts[0]
}

function hostOf(server: string): string {
  const { hostname } = new URL(server.includes('://') ? server : `nats://${server}`)
  return hostname.replace(/^\[|\]$/g, '')
}
