import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pino from 'pino'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { NatsServer } from '../../test/nats.ts'
import { retry } from '../fault.ts'
import { Vault } from '../identity/vault.ts'
import { Secret } from '../secret.ts'
import { EmbeddedState } from '../state/embedded.ts'
import { JetStreamState } from '../state/jetstream.ts'
import type { StateStore } from '../state/state.ts'
import { createMeter } from '../telemetry/prom-meter.ts'
import type { AuditEntry } from './audit.ts'
import { AuditLog, type AuditLogOptions } from './log.ts'
import { linesAfter, readHead, readSegments } from './reader.ts'
import { SIGNER } from './records.ts'
import { searchAudit } from './search.ts'
import { trimAudit } from './trim.ts'
import { verifyState } from './verify-state.ts'

const log = pino({ level: 'silent' })
const DAY_MS = 86_400_000
const vaultOf = (byte: number) => new Vault(new Secret(Buffer.alloc(32, byte).toString('base64')))

let server: NatsServer
let home: string
let places = 0
const opened: StateStore[] = []
beforeAll(async () => {
  server = await NatsServer.start()
  home = await mkdtemp(join(tmpdir(), 'weir-audit-'))
})
afterAll(async () => {
  await Promise.all(opened.map((store) => store.close()))
  await server.stop()
  await rm(home, { recursive: true, force: true })
})

/** Two daemons on one store, by driver. */
async function stores(driver: string): Promise<[StateStore, StateStore]> {
  const name = `place${places++}`
  const make = (): StateStore =>
    driver === 'embedded'
      ? new EmbeddedState(join(home, name))
      : new JetStreamState({ nats: { servers: [server.url] }, bucket: name, replicas: 1, log })
  const pair: [StateStore, StateStore] = [make(), make()]
  opened.push(...pair)
  for (const store of pair) await store.open()
  return pair
}

function auditOn(state: StateStore, more: Partial<AuditLogOptions> = {}): AuditLog {
  return new AuditLog({ state, vault: vaultOf(1), log, meter: createMeter(), clock: Date.now, ...more })
}

function entry(object: string, more: Partial<AuditEntry> = {}): AuditEntry {
  return { actor: { id: 'k1', kind: 'key' }, action: 'test.made', object, outcome: 'ok', ...more }
}

async function objectsIn(state: StateStore): Promise<string[]> {
  const read = await readHead(state)
  const objects: string[] = []
  if (read === undefined) return objects
  for await (const { lines } of linesAfter(state, read.head, 0)) {
    for (const line of lines) objects.push((JSON.parse(line) as { object: string }).object)
  }
  return objects
}

describe.each(['embedded', 'jetstream'])('the audit log on %s state', (driver) => {
  it('is one chain of everything that several daemons append at once', async () => {
    const [one, two] = await stores(driver)
    const [odd, even] = [auditOn(one), auditOn(two)]
    const wanted = Array.from({ length: 400 }, (_, at) => `o${at}`)
    const details = { note: 'x'.repeat(500) }
    const seqs = await Promise.all(
      wanted.map((object, at) => (at % 2 ? odd : even).append(entry(object, { details }))),
    )
    expect(new Set(seqs)).toEqual(new Set(Array.from({ length: 400 }, (_, at) => at + 1)))
    const stored = await objectsIn(two)
    for (const [at, seq] of seqs.entries()) expect(stored[seq - 1]).toBe(wanted[at])
    expect(await verifyState(one)).toMatchObject({ ok: true, first: 1, last: 400, notes: [] })
  })

  it('ends a segment with its day, and lets retention remove whole ones, which the chain remembers', async () => {
    const [one, two] = await stores(driver)
    let nowMs = Date.parse('2026-01-01T12:00:00Z')
    const audit = auditOn(one, { clock: () => nowMs })
    for (let day = 0; day < 5; day++) {
      for (let at = 0; at < 3; at++) await audit.append(entry(`d${day}-${at}`))
      nowMs += DAY_MS
    }
    expect((await readSegments(two)).map(({ segment }) => segment)).toEqual([1, 2, 3, 4])
    const by = { actor: { id: 'retention', kind: 'job' } } as const
    const before = Date.parse('2026-01-03T13:00:00Z')
    const dry = await trimAudit(two, auditOn(two), before, { ...by, dryRun: true })
    expect(dry.entries).toBeGreaterThan(0)
    expect(await objectsIn(two)).toHaveLength(15)
    const trimmed = await trimAudit(two, auditOn(two, { clock: () => nowMs }), before, by)
    expect(trimmed).toEqual(dry)
    const left = await objectsIn(two)
    expect(left).toHaveLength(16 - trimmed.entries)
    expect(left).toContain('d3-2')
    expect(left).not.toContain('d0-0')
    expect(await verifyState(one)).toMatchObject({ ok: true, first: trimmed.entries + 1, last: 16 })
    expect(await trimAudit(two, auditOn(two), before, by)).toMatchObject({ segments: 0, entries: 0 })
    // Another reader of the time before says so.
    await audit.append(entry('after'))
    expect(await verifyState(two)).toMatchObject({ ok: true, last: 17 })
  })

  it('finds an entry whose write was not answered instead of writing it twice', async () => {
    const [one, two] = await stores(driver)
    await auditOn(two).append(entry('first'))
    let lost = 0
    const deaf: StateStore = new Proxy(one, {
      get(target, name) {
        const method = Reflect.get(target, name) as (...args: unknown[]) => Promise<unknown>
        if (name !== 'update' || lost >= 2) return method.bind(target)
        return async (...args: unknown[]) => {
          await method.apply(target, args)
          lost++
          throw Object.assign(
            await import('../fault.ts').then(({ retry }) => retry('STATE_UNAVAILABLE', 'lost')),
          )
        }
      },
    })
    const audit = auditOn(deaf)
    expect(await audit.append(entry('second'))).toBe(2)
    expect(await audit.append(entry('third'))).toBe(3)
    expect(lost).toBe(2)
    expect(await objectsIn(two)).toEqual(['first', 'second', 'third'])
  })

  it('finds an entry whose write was not answered and was done late, after it was looked for', async () => {
    const [one, two] = await stores(driver)
    await auditOn(two).append(entry('first'))
    const late: (() => Promise<unknown>)[] = []
    let tries = 0
    const slow: StateStore = new Proxy(one, {
      get(target, name) {
        const method = Reflect.get(target, name) as (...args: unknown[]) => Promise<unknown>
        if (name !== 'update') return method.bind(target)
        return async (...args: unknown[]) => {
          if (++tries === 1) {
            late.push(() => method.apply(target, args))
            throw retry('STATE_UNAVAILABLE', 'on its way still')
          }
          for (const write of late.splice(0)) await write()
          return method.apply(target, args)
        }
      },
    })
    expect(await auditOn(slow).append(entry('second'))).toBe(2)
    expect(tries).toBeGreaterThan(1)
    expect(await objectsIn(two)).toEqual(['first', 'second'])
  })

  it('refuses an entry it cannot write, and says so in time', async () => {
    const [one] = await stores(driver)
    const audit = auditOn(one, { deadlineMs: 200 })
    await audit.append(entry('first'))
    await expect(audit.append(entry('x', { details: { much: 'x'.repeat(5000) } }))).rejects.toMatchObject({
      code: 'REQUEST_INVALID',
    })
    await one.close()
    await expect(audit.append(entry('second'))).rejects.toMatchObject({
      code: 'AUDIT_UNAVAILABLE',
      verdict: { do: 'retry' },
    })
  })
})

describe('who signs', () => {
  it('is a key sealed under the master key, the same for every daemon', async () => {
    const [one, two] = await stores('embedded')
    await Promise.all([auditOn(one).append(entry('a')), auditOn(two).append(entry('b'))])
    const verdict = await verifyState(one)
    expect(verdict).toMatchObject({ ok: true, last: 2 })
    expect(verdict.keys).toHaveLength(1)
    const other = auditOn(one, { vault: vaultOf(2) })
    await expect(other.append(entry('c'))).rejects.toMatchObject({ code: 'AUDIT_UNAVAILABLE' })
    expect(await verifyState(one, { trusted: verdict.keys })).toMatchObject({ ok: true })
    expect(await verifyState(one, { trusted: ['0'.repeat(16)] })).toMatchObject({
      ok: false,
      finding: { kind: 'signature' },
    })
  })

  it('is a file that only we may read where there is no master key, and moves into the vault with one', async () => {
    const [one, two] = await stores('embedded')
    const keyFile = join(home, 'place.key')
    const plain = { vault: undefined, keyFile }
    await Promise.all([auditOn(one, plain).append(entry('a')), auditOn(two, plain).append(entry('b'))])
    expect((await stat(keyFile)).mode & 0o777).toBe(0o600)
    const { keys } = await verifyState(one)
    await auditOn(one, { keyFile }).append(entry('c'))
    await expect(stat(keyFile)).rejects.toMatchObject({ code: 'ENOENT' })
    expect(await verifyState(two)).toMatchObject({ ok: true, last: 3, keys })
    expect((await two.get(SIGNER))?.value.toString()).toContain('sealed')
  })

  it('is nobody where no key can be kept: chained all the same, and told', async () => {
    const [one] = await stores('embedded')
    await auditOn(one, { vault: undefined }).append(entry('a'))
    const verdict = await verifyState(one)
    expect(verdict).toMatchObject({ ok: true, checkpoint: '', keys: [] })
    expect(verdict.notes.join()).toContain('not signed')
  })

  it('refuses to go on without the key that the log has', async () => {
    const [one] = await stores('embedded')
    const keyFile = join(home, 'lost.key')
    await auditOn(one, { vault: undefined, keyFile }).append(entry('a'))
    await rm(keyFile)
    await expect(auditOn(one, { vault: undefined, keyFile }).append(entry('b'))).rejects.toThrow(/lost\.key/)
    expect(await verifyState(one)).toMatchObject({ ok: true, last: 1 })
  })
})

describe('refused access', () => {
  it('is at most 33 entries a minute, with the number of all', async () => {
    const [one] = await stores('embedded')
    const audit = auditOn(one)
    const refusal = (address: string, code: string): AuditEntry => ({
      actor: { id: 'nobody', kind: 'sender' },
      action: 'access.denied',
      outcome: 'denied',
      address,
      details: { code },
    })
    for (let at = 0; at < 5000; at++) audit.refused(refusal(`10.0.0.${at % 40}`, 'UNAUTHENTICATED'))
    // One IPv6 network is one sender.
    for (let at = 0; at < 100; at++) audit.refused(refusal(`2001:db8:1:2::${at}`, 'UNAUTHENTICATED'))
    await audit.stop()
    const read = await readHead(one)
    const lines = (read?.head.tail ?? []).map((line) => JSON.parse(line) as { details: { repeats?: number } })
    expect(lines).toHaveLength(33)
    const first = lines.filter(({ details }) => details.repeats === undefined).length
    expect(lines.reduce((sum, { details }) => sum + (details.repeats ?? 0), first)).toBe(5100)
  })
})

it('lets pass what it cannot write where the config says so, and counts it', async () => {
  const [one] = await stores('embedded')
  const meter = createMeter()
  const audit = auditOn(one, { deadlineMs: 100, lenient: true, meter })
  await one.close()
  expect(await audit.append(entry('a'))).toBe(0)
  expect(JSON.stringify(await meter.snapshot())).toContain('weir_audit_failures')
})

it('lets others have their turn while it is read: a long one would cost the daemon its leases', async () => {
  const [one] = await stores('embedded')
  const audit = auditOn(one)
  const details = { note: 'x'.repeat(600) }
  await Promise.all(Array.from({ length: 600 }, (_, at) => audit.append(entry(`o${at}`, { details }))))
  const turnsOf = async (read: Promise<unknown>): Promise<number> => {
    let turns = 0
    let next: NodeJS.Immediate
    const turn = (): void => {
      turns++
      next = setImmediate(turn)
    }
    turn()
    await read.finally(() => clearImmediate(next))
    return turns
  }
  expect(await turnsOf(searchAudit(one, { actor: 'nobody' }, 100))).toBeGreaterThan(3)
  expect(await turnsOf(verifyState(one))).toBeGreaterThan(3)
})
