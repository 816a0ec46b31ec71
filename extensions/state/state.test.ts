import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pino from 'pino'
import { expect, it } from 'vitest'
import { createStateStore } from '../../pipeline/state/create.ts'
import { stateKey } from '../../pipeline/state/state.ts'
import { config } from './config.ts'

const audit = { when_unavailable: 'refuse' }

it('is embedded unless told otherwise, with defaults for the rest', () => {
  expect(config.parse({})).toEqual({ driver: 'embedded', directory: './data/state', audit })
  expect(config.parse({ driver: 'jetstream' })).toEqual({
    driver: 'jetstream',
    servers: ['nats://127.0.0.1:4222'],
    bucket: 'weir',
    replicas: 1,
    audit,
  })
})

it.each([
  [{ driver: 'jetstream', directory: './x' }, 'directory'],
  [{ driver: 'embedded', bucket: 'x' }, 'bucket'],
  [{ driver: 'jetstream', bucket: 'a.b' }, 'bucket'],
  [{ driver: 'redis' }, 'driver'],
])('refuses %j and names the key', (value, key) => {
  expect(JSON.stringify(config.safeParse(value).error?.issues)).toContain(key)
})

it('makes the store it describes', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'weir-state-ext-'))
  const store = await createStateStore(config.parse({ directory }), pino({ level: 'silent' }))
  await store.open()
  expect(await store.create(stateKey('a'), Buffer.from('b'))).toBeGreaterThan(0)
  await store.close()
  await rm(directory, { recursive: true })
})
