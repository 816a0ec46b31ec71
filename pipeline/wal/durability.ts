import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { messageOf, reject } from '../fault.ts'
import type { Durability } from './driver.ts'

export interface ProofOptions {
  readonly durability: Durability['mode']
  readonly monitorUrl: string | undefined
  readonly storeDir: string | undefined
}

const TIMEOUT_MS = 5000
const REMEDY =
  'Set `jetstream { sync_interval: always }` in nats-server ≥ 2.10 and `monitor_url` here (its `http` port, e.g. http://127.0.0.1:8222); ' +
  'or, with older servers, `chattr -R +S` on its store directory before the first start and `store_dir` here; or use durability: process'

/**
 * What an ack of JetStream survives. The protocol does not tell (notes of Jepsen on NATS 2.12: acks precede fsync by
 * default), so `strict` asks the server's monitoring page, or looks at the attributes of its store directory.
 */
export async function jetStreamDurability(options: ProofOptions): Promise<Durability> {
  if (options.durability === 'process') {
    return { mode: 'process', proof: 'JetStream writes to its file before it acknowledges, and syncs later' }
  }
  const { monitorUrl, storeDir } = options
  const doubts: string[] = []
  if (monitorUrl !== undefined) {
    const doubt = await attempt(() => syncsAlways(monitorUrl))
    if (doubt === undefined)
      return { mode: 'strict', proof: `sync_interval is always, says ${monitorUrl}/varz` }
    doubts.push(doubt)
  }
  if (storeDir !== undefined) {
    const doubt = await attempt(() => isSynchronous(storeDir))
    if (doubt === undefined)
      return { mode: 'strict', proof: `${storeDir} is a synchronous directory (chattr +S)` }
    doubts.push(doubt)
  }
  const why = doubts.length > 0 ? doubts.join('; ') : 'neither monitor_url nor store_dir is set'
  throw reject('START_FAILED', `durability: strict cannot be proved: ${why}. ${REMEDY}`)
}

/** The doubt that `check` returned or ran into. */
async function attempt(check: () => Promise<string | undefined>): Promise<string | undefined> {
  try {
    return await check()
  } catch (error) {
    return messageOf(error)
  }
}

async function syncsAlways(monitorUrl: string): Promise<string | undefined> {
  const url = new URL('/varz', monitorUrl)
  const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) })
  if (!response.ok) return `monitor_url: ${url.href} answers ${response.status}`
  const varz = (await response.json()) as { jetstream?: { config?: { sync_always?: unknown } } }
  if (varz.jetstream?.config?.sync_always === true) return undefined
  return `monitor_url: ${url.href} does not show jetstream.config.sync_always`
}

async function isSynchronous(storeDir: string): Promise<string | undefined> {
  const { stdout } = await promisify(execFile)('lsattr', ['-d', storeDir], { timeout: TIMEOUT_MS })
  const [attributes = ''] = stdout.split(' ')
  return attributes.includes('S')
    ? undefined
    : `store_dir: lsattr shows ${attributes} for ${storeDir}, without S`
}
