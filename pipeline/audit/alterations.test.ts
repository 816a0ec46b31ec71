import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pino from 'pino'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { Vault } from '../identity/vault.ts'
import { Secret } from '../secret.ts'
import { EmbeddedState } from '../state/embedded.ts'
import { stateKey, type StateEntry, type StateKey, type StateStore } from '../state/state.ts'
import { createMeter } from '../telemetry/prom-meter.ts'
import { AuditLog } from './log.ts'
import { readHead } from './reader.ts'
import { HEAD, SIGNER } from './records.ts'
import { trimAudit } from './trim.ts'
import { verifyState } from './verify-state.ts'

/** The issue asks for 10,000 (`WEIR_AUDIT_ALTERATIONS=10000`); the normal run has time for fewer. */
const COUNT = Number(process.env['WEIR_AUDIT_ALTERATIONS'] ?? 1500)
const SEED = Number(process.env['WEIR_AUDIT_SEED'] ?? 20_260_801)
const DAY_MS = 86_400_000

type Records = Map<StateKey, Buffer>

let home: string
/** A log of 3 segments and 4 blocks, the oldest segment removed by retention; and how it was some entries before. */
let whole: Records
let earlier: Records
let checkpoint: string

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'weir-alter-'))
  const state = new EmbeddedState(home)
  await state.open()
  let nowMs = Date.parse('2026-03-01T10:00:00Z')
  const vault = new Vault(new Secret(Buffer.alloc(32, 3).toString('base64')))
  const log = pino({ level: 'silent' })
  const audit = new AuditLog({ state, vault, log, meter: createMeter(), clock: () => nowMs })
  const actor = { id: 'k1', kind: 'key' } as const
  const add = (object: string, size = 1) =>
    audit.append({ actor, action: 'test.made', object, outcome: 'ok', details: { text: 'y'.repeat(size) } })
  for (let day = 0; day < 3; day++) {
    for (let at = 0; at < 3; at++) await add(`d${day}-${at}`)
    nowMs += DAY_MS
  }
  for (let at = 0; at < 12; at++) await add(`big${at}`, 3000)
  await trimAudit(state, audit, Date.parse('2026-03-02T11:00:00Z'), { actor })
  earlier = await recordsOf(state)
  await add('last-but-one')
  await add('last')
  whole = await recordsOf(state)
  checkpoint = (await readHead(state))?.head.note ?? ''
  await state.close()
})
afterAll(() => rm(home, { recursive: true, force: true }))

async function recordsOf(state: StateStore): Promise<Records> {
  const entries = await state.list(stateKey('audit'))
  return new Map(entries.map(({ key, value }) => [key, Buffer.from(value)]))
}

/** Reads only: what an offline verifier sees. */
function frozen(records: Records): StateStore {
  const entries = [...records].map(([key, value]): StateEntry => ({ key, value, revision: 1 }))
  entries.sort((a, b) => (a.key < b.key ? -1 : 1))
  return {
    get: (key: StateKey) => Promise.resolve(entries.find((entry) => entry.key === key)),
    list: (prefix: StateKey) => Promise.resolve(entries.filter(({ key }) => key.startsWith(`${prefix}.`))),
  } as Partial<StateStore> as StateStore
}

/** mulberry32: the same alterations for the same seed. */
function randomOf(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}

type Random = (below: number) => number

/** Which lines a record has; the first of the head and all of a segment's record are fields, not entries. */
function linesOf(key: StateKey, value: Buffer): { fields: string[]; lines: string[] } {
  const all = value.toString().split('\n')
  return key === HEAD ? { fields: all.slice(0, 1), lines: all.slice(1) } : { fields: [], lines: all }
}

function withLines(records: Records, key: StateKey, edit: (lines: string[]) => void): void {
  const { fields, lines } = linesOf(key, records.get(key) ?? Buffer.alloc(0))
  edit(lines)
  records.set(key, Buffer.from([...fields, ...lines].join('\n')))
}

const logRecords = (records: Records): StateKey[] => [...records.keys()].filter((key) => key !== SIGNER)
const withEntries = (records: Records): StateKey[] =>
  [...records.keys()].filter((key) => key === HEAD || key.startsWith('audit.line.'))

const pick = <T>(random: Random, from: readonly T[]): T => {
  const found = from[random(from.length)]
  if (found === undefined) throw new Error('nothing to pick from')
  return found
}

/** Each changes the records; what it changed may by chance be what was there, which `altered` tries again. */
const ALTERATIONS: Readonly<Record<string, (records: Records, random: Random) => void>> = {
  flip(records, random) {
    const value = records.get(pick(random, logRecords(records))) ?? Buffer.alloc(1)
    const at = random(value.length)
    value[at] = (value[at] ?? 0) ^ (1 << random(8))
  },
  dropLine: (records, random) =>
    withLines(records, pick(random, withEntries(records)), (lines) => lines.splice(random(lines.length), 1)),
  dropRecord: (records, random) => void records.delete(pick(random, logRecords(records))),
  swapLines(records, random) {
    const [one, two] = [pick(random, withEntries(records)), pick(random, withEntries(records))]
    const a = random(linesOf(one, records.get(one) ?? Buffer.alloc(0)).lines.length)
    const b = random(linesOf(two, records.get(two) ?? Buffer.alloc(0)).lines.length)
    const first = linesOf(one, records.get(one) ?? Buffer.alloc(0)).lines[a] ?? ''
    const second = linesOf(two, records.get(two) ?? Buffer.alloc(0)).lines[b] ?? ''
    withLines(records, one, (lines) => void (lines[a] = second))
    withLines(records, two, (lines) => void (lines[b] = first))
  },
  swapRecords(records, random) {
    const [one, two] = [pick(random, logRecords(records)), pick(random, logRecords(records))]
    const kept = records.get(one) ?? Buffer.alloc(0)
    records.set(one, records.get(two) ?? Buffer.alloc(0))
    records.set(two, kept)
  },
  cutRecord(records, random) {
    const key = pick(random, logRecords(records))
    const value = records.get(key) ?? Buffer.alloc(1)
    records.set(key, value.subarray(0, random(value.length)))
  },
  cutLines: (records, random) =>
    withLines(records, pick(random, withEntries(records)), (lines) => lines.splice(random(lines.length))),
  insertBytes(records, random) {
    const key = pick(random, logRecords(records))
    const value = records.get(key) ?? Buffer.alloc(1)
    const at = random(value.length + 1)
    records.set(key, Buffer.concat([value.subarray(0, at), Buffer.from([random(256)]), value.subarray(at)]))
  },
  insertLine(records, random) {
    const from = pick(random, withEntries(records))
    const line = pick(random, linesOf(from, records.get(from) ?? Buffer.alloc(0)).lines)
    withLines(records, pick(random, withEntries(records)), (lines) =>
      lines.splice(random(lines.length + 1), 0, line),
    )
  },
  insertRecord(records, random) {
    const key = pick(
      random,
      withEntries(records).filter((each) => each !== HEAD),
    )
    const first = String(random(40)).padStart(16, '0')
    records.set(`${key.slice(0, key.lastIndexOf('.'))}.${first}` as StateKey, Buffer.from('{}'))
  },
  roll: (records) => {
    records.clear()
    for (const [key, value] of earlier) records.set(key, Buffer.from(value))
  },
}

function altered(random: Random): { name: string; records: Records } {
  for (;;) {
    const name = pick(random, Object.keys(ALTERATIONS))
    const records = new Map([...whole].map(([key, value]) => [key, Buffer.from(value)] as const))
    ALTERATIONS[name]?.(records, random)
    const isSame =
      records.size === whole.size &&
      [...whole].every(([key, value]) => records.get(key)?.equals(value) === true)
    if (!isSame) return { name, records }
  }
}

it('verifies what nobody has touched, against the checkpoint of its end and an earlier one', async () => {
  const anchors = [
    checkpoint,
    (JSON.parse(linesOf(HEAD, earlier.get(HEAD) ?? Buffer.alloc(0)).fields[0] ?? '{}') as { note: string })
      .note,
  ]
  const verdict = await verifyState(frozen(whole), { anchors })
  expect(verdict).toMatchObject({ ok: true, notes: ['entries 1 to 4 were removed by retention'] })
  expect(await verifyState(frozen(earlier))).toMatchObject({ ok: true })
})

it(`finds each of ${COUNT} random alterations`, { timeout: 600_000 }, async () => {
  const random = randomOf(SEED)
  const missed: string[] = []
  const kinds = new Map<string, number>()
  for (let at = 0; at < COUNT; at++) {
    const { name, records } = altered(random)
    const { ok, finding } = await verifyState(frozen(records), { anchors: [checkpoint] })
    if (ok) missed.push(`${at}: ${name}`)
    kinds.set(finding?.kind ?? 'none', (kinds.get(finding?.kind ?? 'none') ?? 0) + 1)
  }
  expect(missed).toEqual([])
  expect(kinds.size).toBeGreaterThanOrEqual(6)
})

it.each([
  ['an altered entry', 'altered', 7],
  ['a missing entry', 'missing', 7],
  ['an entry that stands twice', 'inserted', 8],
])('names %s', async (_, kind, seq) => {
  const records = new Map(whole)
  const key = withEntries(records).find((each) => each.endsWith(String(5).padStart(16, '0')))
  if (key === undefined) throw new Error('the log has other blocks than this test knows')
  withLines(records, key, (lines) => {
    if (kind === 'missing') lines.splice(2, 1)
    if (kind === 'inserted') lines.splice(3, 0, lines[2] ?? '')
    if (kind === 'altered') lines[2] = (lines[2] ?? '').replace('"k1"', '"k2"')
  })
  expect((await verifyState(frozen(records))).finding).toMatchObject({ kind, seq })
})

it('does not take a log written anew by someone without the key', async () => {
  const state = new EmbeddedState(join(home, 'forged'))
  await state.open()
  const vault = new Vault(new Secret(Buffer.alloc(32, 9).toString('base64')))
  const audit = new AuditLog({
    state,
    vault,
    log: pino({ level: 'silent' }),
    meter: createMeter(),
    clock: Date.now,
  })
  await audit.append({ actor: { id: 'k1', kind: 'key' }, action: 'test.made', outcome: 'ok' })
  const forged = await recordsOf(state)
  await state.close()
  expect(await verifyState(frozen(forged))).toMatchObject({ ok: true })
  const trusted = (await verifyState(frozen(whole))).keys
  expect(await verifyState(frozen(forged), { trusted })).toMatchObject({
    ok: false,
    finding: { kind: 'signature' },
  })
  forged.set(SIGNER, whole.get(SIGNER) ?? Buffer.alloc(0))
  expect(await verifyState(frozen(forged), { trusted })).toMatchObject({
    ok: false,
    finding: { kind: 'signature' },
  })
})
