import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import {
  DiscardPolicy,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
  type JetStreamManager,
  type StreamConfig,
} from '@nats-io/jetstream'
import { connect, type NatsConnection } from '@nats-io/transport-node'
import pino from 'pino'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { message, take } from '../../test/contract/wal-driver.ts'
import { NatsServer } from '../../test/nats.ts'
import { testPorts } from '../../test/support/ports.ts'
import { Secret } from '../secret.ts'
import { JetStreamWal, type JetStreamWalOptions } from './jetstream.ts'

const MIB = 1024 * 1024

let server: NatsServer
let nc: NatsConnection
let jsm: JetStreamManager
let streams = 0

beforeAll(async () => {
  server = await NatsServer.start()
  nc = await connect({ servers: server.url })
  jsm = await jetstreamManager(nc)
})
afterAll(async () => {
  await nc.close()
  await server.stop()
})

function options(more: Partial<JetStreamWalOptions> = {}): JetStreamWalOptions {
  const name = `S${streams++}`
  return {
    nats: { servers: [server.url] },
    stream: name,
    subjectPrefix: `p${name}`,
    replicas: 1,
    maxBytes: 64 * MIB,
    durability: 'process',
    monitorUrl: undefined,
    storeDir: undefined,
    log: pino({ level: 'silent' }),
    ...more,
  }
}

async function opening(settings: JetStreamWalOptions): Promise<unknown> {
  const wal = new JetStreamWal(settings)
  try {
    await wal.open()
    return undefined
  } catch (error) {
    return error
  } finally {
    await wal.close()
  }
}

const refused = (...words: readonly string[]): object => ({
  code: 'START_FAILED',
  message: expect.stringMatching(new RegExp(words.join('.*'), 's')) as string,
})

describe('the stream', () => {
  it('is made as a WAL must be', async () => {
    const settings = options()
    expect(await opening(settings)).toBeUndefined()
    const { config } = await jsm.streams.info(settings.stream)
    expect(config).toMatchObject({
      subjects: [`${settings.subjectPrefix}.*.*`],
      retention: 'limits',
      storage: 'file',
      discard: 'new',
      max_age: 0,
      max_msgs: -1,
      max_msgs_per_subject: -1,
      max_bytes: 64 * MIB,
      num_replicas: 1,
      duplicate_window: 20 * 60 * 1e9,
    })
  })

  const unfit: readonly (readonly [string, Partial<StreamConfig>])[] = [
    ['storage', { storage: StorageType.Memory }],
    ['retention', { retention: RetentionPolicy.Workqueue }],
    ['discard', { discard: DiscardPolicy.Old }],
    ['max_age', { max_age: 3600 * 1e9 }],
    ['max_msgs', { max_msgs: 1000 }],
    ['max_msgs_per_subject', { max_msgs_per_subject: 10 }],
    ['no_ack', { no_ack: true }],
    ['deny_purge', { deny_purge: true }],
    ['subjects', { subjects: ['elsewhere.>'] }],
  ]
  it.each(unfit)('is refused when its %s would lose data, with the remedy', async (field, wrong) => {
    const settings = options()
    const fit: Partial<StreamConfig> & { name: string } = {
      name: settings.stream,
      subjects: [`${settings.subjectPrefix}.*.*`],
      retention: RetentionPolicy.Limits,
      storage: StorageType.File,
      discard: DiscardPolicy.New,
    }
    await jsm.streams.add({ ...fit, ...wrong })
    expect(await opening(settings)).toMatchObject(refused(settings.stream, `${field}:`, 'nats stream edit'))
    await jsm.streams.delete(settings.stream)
  })

  it('is adjusted where that loses nothing', async () => {
    const settings = options()
    await opening(settings)
    expect(await opening({ ...settings, maxBytes: 32 * MIB })).toBeUndefined()
    expect((await jsm.streams.info(settings.stream)).config.max_bytes).toBe(32 * MIB)
  })

  it('is refused with the server’s reason when the server cannot make it', async () => {
    expect(await opening(options({ replicas: 3 }))).toMatchObject(refused('replicas 3'))
  })

  it('limits a message to the server’s max_payload less what is reserved', async () => {
    const wal = new JetStreamWal(options())
    await wal.open()
    expect(wal.maxMessageBytes).toBe(nc.info!.max_payload - 64 * 1024)
    await wal.close()
  })

  it.each([
    ['1MB', true],
    ['2MB', false],
  ])('with a max_payload of %s warns: %s', async (limit, warns) => {
    // The later setting wins in nats-server's config.
    const small = await NatsServer.start(`max_payload: ${limit}`)
    const lines: string[] = []
    const log = pino({ level: 'warn' }, { write: (line) => void lines.push(line) })
    const wal = new JetStreamWal(options({ nats: { servers: [small.url] }, log }))
    try {
      await wal.open()
      expect(lines.some((line) => line.includes('Set max_payload: 8MB'))).toBe(warns)
    } finally {
      await wal.close()
      await small.stop()
    }
  })
})

describe('the connection', () => {
  it('names the servers it cannot reach', async () => {
    const nowhere = `nats://127.0.0.1:${(await testPorts(1))[0]}`
    expect(await opening(options({ nats: { servers: [nowhere] } }))).toMatchObject(
      refused(nowhere, 'nats-server'),
    )
  })

  it('says when JetStream is off', async () => {
    const account = await NatsServer.start('accounts { A { users: [{user: a, password: b}] } }')
    const nats = { servers: [account.url], user: 'a', password: new Secret('b') }
    expect(await opening(options({ nats }))).toMatchObject(refused('JetStream'))
    await account.stop()
  })

  it('authenticates by password and by token, and says so when it is refused', async () => {
    for (const [extra, login] of [
      ['authorization { user: u, password: secret-p }', { user: 'u', password: new Secret('secret-p') }],
      ['authorization { token: secret-t }', { token: new Secret('secret-t') }],
    ] as const) {
      const guarded = await NatsServer.start(extra)
      const servers = [guarded.url]
      expect(await opening(options({ nats: { servers, ...login } }))).toBeUndefined()
      const error = await opening(options({ nats: { servers, user: 'u', password: new Secret('wrong-p') } }))
      expect(error).toMatchObject(refused('credentials'))
      expect((error as Error).message).not.toContain('wrong-p')
      await guarded.stop()
    }
  })

  it('authenticates by an nkey seed in a file', async () => {
    const { createUser } = await import('@nats-io/transport-node').then(({ nkeys }) => nkeys)
    const user = createUser()
    const guarded = await NatsServer.start(`authorization { users: [{ nkey: ${user.getPublicKey()} }] }`)
    const file = join(guarded.directory, 'user.nk')
    writeFileSync(file, `${Buffer.from(user.getSeed()).toString()}\n`)
    expect(await opening(options({ nats: { servers: [guarded.url], nkey_seed_file: file } }))).toBeUndefined()
    expect(await opening(options({ nats: { servers: [guarded.url] } }))).toMatchObject(refused('credentials'))
    await guarded.stop()
  })

  it('speaks TLS with both sides proved', async (ctx) => {
    const dir = join(server.directory, 'tls')
    mkdirSync(dir)
    if (!certificates(dir)) ctx.skip('openssl is needed to make certificates')
    const block = `tls { cert_file: "${dir}/server.pem", key_file: "${dir}/server.key", ca_file: "${dir}/ca.pem", verify: true }`
    const guarded = await NatsServer.start(block)
    const servers = [guarded.url]
    const client = { cert_file: `${dir}/client.pem`, key_file: `${dir}/client.key` }
    const flags = { insecure_skip_verify: false, handshake_first: false }
    const trusted = { ...flags, ca_file: `${dir}/ca.pem`, ...client }
    const wal = new JetStreamWal(options({ nats: { servers, tls: trusted } }))
    await wal.open()
    await wal.append(message('secret'))
    expect(await take(wal.reader(0), 1)).toHaveLength(1)
    await wal.close()
    const skipping = { ...client, ...flags, insecure_skip_verify: true }
    expect(await opening(options({ nats: { servers, tls: skipping } }))).toBeUndefined()
    expect(await opening(options({ nats: { servers, tls: { ...client, ...flags } } }))).toMatchObject(
      refused('tls'),
    )
    expect(
      await opening(options({ nats: { servers, tls: { ...flags, ca_file: `${dir}/ca.pem` } } })),
    ).toMatchObject(refused('tls'))
    await guarded.stop()
  })
})

/** A CA, and a server and a client certificate signed by it. */
function certificates(dir: string): boolean {
  const run = (...args: string[]): boolean => spawnSync('openssl', args, { cwd: dir }).status === 0
  const signed = (name: string): boolean => {
    writeFileSync(join(dir, `${name}.ext`), 'subjectAltName=IP:127.0.0.1\n')
    const key = ['-newkey', 'rsa:2048', '-nodes', '-keyout', `${name}.key`, '-out', `${name}.csr`]
    const sign = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-extfile', `${name}.ext`]
    return (
      run('req', ...key, '-subj', `/CN=${name}`) &&
      run('x509', '-req', '-in', `${name}.csr`, ...sign, '-days', '2', '-out', `${name}.pem`)
    )
  }
  const ca = ['-newkey', 'rsa:2048', '-nodes', '-keyout', 'ca.key', '-out', 'ca.pem', '-days', '2']
  return run('req', '-x509', ...ca, '-subj', '/CN=ca') && signed('server') && signed('client')
}

describe('strict durability', () => {
  it('is refused without a proof, naming the keys and the remedy', async () => {
    expect(await opening(options({ durability: 'strict' }))).toMatchObject(
      refused('neither monitor_url nor store_dir', 'sync_interval: always', 'chattr', 'durability: process'),
    )
  })

  it('is refused when the server does not sync each write, and when it cannot be asked', async () => {
    const strict = { durability: 'strict' } as const
    expect(await opening(options({ ...strict, monitorUrl: server.monitorUrl }))).toMatchObject(
      refused('does not show jetstream.config.sync_always'),
    )
    expect(
      await opening(options({ ...strict, monitorUrl: `http://127.0.0.1:${(await testPorts(1))[0]}` })),
    ).toMatchObject(refused('cannot be proved', 'sync_interval'))
  })

  /** nats-server 2.9 has no `sync_interval`: its monitoring page as servers from 2.10 on answer it. */
  it('is proved by the monitoring page of a server that syncs always', async () => {
    const page = createServer((request, response) => {
      response.end(request.url === '/varz' ? '{"jetstream":{"config":{"sync_always":true}}}' : '{}')
    }).listen(0, '127.0.0.1')
    await once(page, 'listening')
    const { port } = page.address() as { port: number }
    const wal = new JetStreamWal(options({ durability: 'strict', monitorUrl: `http://127.0.0.1:${port}` }))
    await wal.open()
    expect(wal.durability()).toMatchObject({
      mode: 'strict',
      proof: expect.stringContaining('/varz') as string,
    })
    await wal.close()
    page.close()
  })

  it('is proved by a synchronous store directory, and only by one', async (ctx) => {
    const strict = { durability: 'strict', storeDir: server.storeDir } as const
    if (spawnSync('lsattr', ['-d', server.storeDir]).status !== 0)
      ctx.skip('lsattr is needed, on ext4 or alike')
    expect(await opening(options(strict))).toMatchObject(refused('without S'))
    if (spawnSync('chattr', ['+S', server.storeDir]).status !== 0) ctx.skip('chattr +S needs root')
    const wal = new JetStreamWal(options(strict))
    await wal.open()
    expect(wal.durability()).toMatchObject({ mode: 'strict', proof: expect.stringContaining('+S') as string })
    await wal.close()
  })
})
