import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pino from 'pino'
import { afterEach, describe, expect, it } from 'vitest'
import { NatsServer } from '../../test/nats.ts'
import { until } from '../../test/support/until.ts'
import { EmbeddedState } from '../state/embedded.ts'
import { JetStreamState } from '../state/jetstream.ts'
import { stateKey, type StateStore } from '../state/state.ts'
import { IdentityCache } from './cache.ts'
import { keyKey, tenantKey, VERSION, type Key, type Tenant } from './records.ts'

const ends: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

const json = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value))

const acme: Tenant = { v: VERSION, id: 'acme', name: 'Acme', tier: 'paid', status: 'active', created_ms: 1 }
const certificate: Key = {
  v: VERSION,
  id: 'c1',
  kind: 'certificate',
  name: '',
  tenant: 'acme',
  roles: ['ingest'],
  binding: 'san:DNS:a.example',
  created_ms: 1,
}

async function cacheOn(state: StateStore, lines: string[] = []): Promise<IdentityCache> {
  const log = pino({ level: 'debug' }, { write: (line: string) => void lines.push(line) })
  const cache = new IdentityCache(state, log)
  await cache.start()
  ends.push(() => cache.stop())
  return cache
}

async function embedded(): Promise<StateStore> {
  const directory = await mkdtemp(join(tmpdir(), 'weir-identity-'))
  const state = new EmbeddedState(directory)
  await state.open()
  ends.push(async () => {
    await state.close()
    await rm(directory, { recursive: true })
  })
  return state
}

describe('the identity cache', () => {
  it('has what was stored before it, sees what is written and removed after, in this and another process', async () => {
    const state = await embedded()
    await state.put(tenantKey('acme'), json(acme))
    const cache = await cacheOn(state)
    expect(cache.tenant('acme')).toEqual(acme)
    await state.put(tenantKey('acme'), json({ ...acme, status: 'disabled' }))
    await until(() => cache.tenant('acme')?.status === 'disabled')
    await state.delete(tenantKey('acme'))
    await until(() => cache.tenant('acme') === undefined)
    await expect(cache.ensureFresh()).resolves.toBeUndefined()
  })

  it('takes what it cannot read for absent, says so, and goes on', async () => {
    const state = await embedded()
    const lines: string[] = []
    await state.put(tenantKey('newer'), json({ ...acme, id: 'newer', v: 2 }))
    const cache = await cacheOn(state, lines)
    await state.put(tenantKey('acme'), json(acme))
    await until(() => cache.tenant('acme') !== undefined)
    await state.put(tenantKey('acme'), Buffer.from('{'))
    await state.put(stateKey('identity', 'spaceship', 'x'), json({ v: VERSION }))
    await state.put(tenantKey('last'), json({ ...acme, id: 'last' }))
    await until(() => cache.tenant('last') !== undefined)
    expect(cache.tenant('acme')).toBeUndefined()
    expect(cache.tenant('newer')).toBeUndefined()
    expect(lines.filter((line) => line.includes('cannot be read'))).toHaveLength(3)
  })

  it('binds a certificate to the key that is in force', async () => {
    const state = await embedded()
    const cache = await cacheOn(state)
    const at = (id: string) =>
      cache.bound(certificate.kind === 'certificate' ? certificate.binding : '')?.id === id
    await state.put(keyKey('c1'), json(certificate))
    await until(() => at('c1'))
    await state.put(keyKey('c2'), json({ ...certificate, id: 'c2' }))
    await until(() => at('c2'))
    await state.put(keyKey('c2'), json({ ...certificate, id: 'c2', revoked_ms: 5 }))
    await until(() => at('c1'))
    await state.delete(keyKey('c1'))
    await until(() => cache.bound('san:DNS:a.example') === undefined)
  })

  it('binds a certificate to the key that lasts longest, in whatever order they are read', async () => {
    const state = await embedded()
    await state.put(keyKey('a1'), json({ ...certificate, id: 'a1', expires_ms: 10 }))
    await state.put(keyKey('b2'), json({ ...certificate, id: 'b2' }))
    await state.put(keyKey('c3'), json({ ...certificate, id: 'c3', expires_ms: 20 }))
    const cache = await cacheOn(state)
    const bound = () => cache.bound('san:DNS:a.example')?.id
    expect(bound()).toBe('b2')
    await state.delete(keyKey('b2'))
    await until(() => bound() === 'c3')
    await state.delete(keyKey('c3'))
    await until(() => bound() === 'a1')
  })

  it('asks the store at once when it was stopped for long, rather than letting nobody in', async () => {
    const state = await embedded()
    await state.put(tenantKey('acme'), json(acme))
    const cache = await cacheOn(state)
    const endMs = performance.now() + 5500
    while (performance.now() < endMs) {
      // Nothing runs meanwhile, as under SIGSTOP.
    }
    await expect(cache.ensureFresh()).resolves.toBeUndefined()
  })

  it('lets nobody in while the store is silent, and catches up when it answers again', async () => {
    const server = await NatsServer.start()
    ends.push(() => server.stop())
    const log = pino({ level: 'silent' })
    const open = async (): Promise<StateStore> => {
      const nats = { servers: [server.url] }
      const state = new JetStreamState({ nats, bucket: 'weir', replicas: 1, log })
      await state.open()
      ends.push(() => state.close())
      return state
    }
    const [here, there] = [await open(), await open()]
    const cache = await cacheOn(here)
    await there.put(tenantKey('acme'), json(acme))
    await until(() => cache.tenant('acme') !== undefined)
    await server.kill()
    await until(() => isStale(cache))
    await server.start()
    await until(async () => !(await isStale(cache)))
    await there.put(tenantKey('acme'), json({ ...acme, status: 'disabled' }))
    await until(() => cache.tenant('acme')?.status === 'disabled')
  })
})

async function isStale(cache: IdentityCache): Promise<boolean> {
  try {
    await cache.ensureFresh()
    return false
  } catch (error) {
    expect(error).toMatchObject({ code: 'STATE_UNAVAILABLE', verdict: { do: 'retry' } })
    return true
  }
}
