import { spawnSync } from 'node:child_process'
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { decodeBatch, decodeJsonBatch } from '../../pipeline/batch/otlp-batch.ts'
import type { Batch } from '../../pipeline/batch/batch.ts'
import type { Exporter } from '../../pipeline/component.ts'
import { encodeDocument } from '../../test/contract/otlp-clients.ts'
import { exporterContext, testBatch, testDelivery } from '../../test/contract/exporter.ts'
import { TRACE_FILES } from '../../test/genai/expected-traces.ts'
import { sharedData } from '../../test/genai/spans.ts'
import { config } from './config.ts'
import { file } from './factory.ts'

const fileMaker = await file.load()

const NEVER = new AbortController().signal
const DAY_MS = 86_400_000
let folder: string
let path: string
let now = Date.UTC(2026, 0, 31, 23, 59)
const started: Exporter[] = []

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'weir-file-'))
  path = join(folder, 'traces.jsonl')
  now = Date.UTC(2026, 0, 31, 23, 59)
})

afterEach(async () => {
  for (const exporter of started.splice(0)) await exporter.stop?.(NEVER)
  rmSync(folder, { recursive: true })
})

async function exporter(more: object = {}): Promise<Exporter> {
  const made = fileMaker.create(config.parse({ path, ...more }), {
    ...exporterContext('file'),
    clock: () => now,
  })
  await made.start?.()
  started.push(made)
  return made
}

let ranges = 0
const deliver = (to: Exporter, ...batches: Batch[]) =>
  to.deliver?.(testDelivery(batches, { token: `t${++ranges}` }), NEVER) ??
  Promise.reject(new Error('no deliver'))
const lines = (name = path) => readFileSync(name, 'utf8').trimEnd().split('\n')
const backups = () => readdirSync(folder).filter((name) => /\d\.jsonl$/.test(name))

describe('what is written', () => {
  test('json: a line of OTLP/JSON per batch, in the order of the WAL', async () => {
    const to = await exporter()
    await deliver(to, testBatch([{ name: 'a' }]), testBatch([{ name: 'b' }, { name: 'c' }]))
    await deliver(to, testBatch([{ name: 'd' }]))
    const names = lines().map((line) => {
      const batch = decodeJsonBatch(Buffer.from(line), testBatch([]).meta)
      return Array.from({ length: batch.rows }, (_, row) => batch.name(row))
    })
    expect(names).toEqual([['a'], ['b', 'c'], ['d']])
  })

  test.each(['json', 'proto'])(
    '%s, gzip: real traces of eight frameworks read back equal',
    async (format) => {
      const texts = TRACE_FILES.map((name) => sharedData(`traces/otlp/${name}.otlp.json.gz`))
      const meta = testBatch([]).meta
      // Without the shared data, what the tests have themselves.
      const inputs = texts.includes(undefined)
        ? [testBatch([{}, {}])]
        : texts.map((text) => decodeBatch(encodeDocument(JSON.parse(text ?? '{}') as object), meta))
      const to = await exporter({ format, compression: 'gzip' })
      for (const input of inputs) await deliver(to, input)
      const plain = gunzipSync(readFileSync(path))
      const read = format === 'json' ? fromLines(plain) : fromPrefixed(plain)
      expect(read.map((batch) => batch.toJson())).toEqual(inputs.map((batch) => batch.toJson()))
    },
  )

  test('dropped spans are left out, and a batch of none leaves no line', async () => {
    const to = await exporter()
    const batch = testBatch([{ name: 'gone' }, { name: 'here' }])
    batch.drop(0, 'sampled')
    const none = testBatch([{}])
    none.drop(0, 'sampled')
    await deliver(to, batch, none)
    expect(lines()).toHaveLength(1)
    expect(lines()[0]).not.toContain('gone')
  })
})

describe('what was there before', () => {
  test('is kept, and an open line is ended', async () => {
    writeFileSync(path, '{"resourceSpans":[]}\n{"resourceSpans":[]}')
    await deliver(await exporter(), testBatch([{}]))
    expect(lines()).toHaveLength(3)
  })

  test('behind the last finished delivery goes, as of a crash', async () => {
    await deliver(await exporter(), testBatch([{}]))
    await started.pop()?.stop?.(NEVER)
    const whole = lines()
    appendFileSync(path, '{"torn":'.padEnd(100_000, 'x'))
    await deliver(await exporter(), testBatch([{}]))
    expect(lines()).toEqual([...whole, ...whole])
  })

  test('cut by somebody else: goes on at its end', async () => {
    const to = await exporter()
    await deliver(to, testBatch([{}]))
    await to.stop?.(NEVER)
    writeFileSync(path, '')
    await deliver(await exporter(), testBatch([{}]))
    expect(lines()).toHaveLength(1)
  })

  test.each([
    ['cut', () => writeFileSync(path, ''), 0],
    ['moved away', () => renameSync(path, `${path}.1`), 1],
  ])('%s while it is written: goes on, and loses nothing', async (_, meddle, kept) => {
    const to = await exporter()
    await deliver(to, testBatch([{ name: 'before' }]))
    meddle()
    await deliver(to, testBatch([{ name: 'after' }]))
    await deliver(to, testBatch([{ name: 'last' }]))
    expect(lines().map((line) => /"name":"(after|last)"/.exec(line)?.[1])).toEqual(['after', 'last'])
    expect(readFileSync(path)).not.toContain(0)
    if (kept > 0) expect(lines(`${path}.1`)).toHaveLength(kept)
  })
})

test('a cursor that goes to another daemon and back: its ranges are in the file once each', async () => {
  const [a, b] = [await exporter(), await exporter()]
  const range = (token: string) => testDelivery([testBatch([{ name: token }])], { token })
  await a.deliver?.(range('r1'), NEVER)
  await b.deliver?.(range('r1'), NEVER)
  await b.deliver?.(range('r2'), NEVER)
  // What a daemon left torn that was killed.
  appendFileSync(path, '{"torn":'.padEnd(10_000, 'x'))
  await a.deliver?.(range('r2'), NEVER)
  await a.deliver?.(range('r3'), NEVER)
  expect(lines().map((line) => /"name":"(r\d)"/.exec(line)?.[1])).toEqual(['r1', 'r2', 'r3'])
})

test('two exporters of one path do not tear each other’s deliveries', async () => {
  const both = [await exporter(), await exporter({ flush_interval: '2s' })]
  const of = (cursor: string, n: number) => ({
    ...testDelivery([testBatch([{ name: `${cursor}${n}` }])], { token: String(n) }),
    cursor,
  })
  for (let n = 0; n < 5; n++)
    await Promise.all(both.map((to, at) => Promise.resolve(to.deliver?.(of(`c${at}`, n), NEVER))))
  expect(fromLines(readFileSync(path))).toHaveLength(10)
})

describe('rotation', () => {
  test('by size: no delivery is cut in two, and the oldest go beyond max_backups', async () => {
    const size = testBatch([{}]).toJson().length
    const rotation = { max_megabytes: (2.5 * size) / 1024 / 1024, max_backups: 2 }
    const to = await exporter({ rotation })
    for (let i = 0; i < 9; i++) {
      now += 1000
      await deliver(to, testBatch([{}]))
    }
    expect(backups()).toHaveLength(2)
    expect(backups().map((name) => lines(join(folder, name)).length)).toEqual([2, 2])
    expect(lines()).toHaveLength(1)
  })

  test('daily, in UTC, and by age', async () => {
    const to = await exporter({ rotation: { daily: true, max_days: 2 } })
    await deliver(to, testBatch([{}]))
    now += 120_000
    await deliver(to, testBatch([{}]))
    expect(backups()).toEqual(['traces-2026-02-01T00-01-00.000.jsonl'])
    await deliver(to, testBatch([{}]))
    expect(lines()).toHaveLength(2)
    for (let day = 0; day < 4; day++) {
      now += DAY_MS
      await deliver(to, testBatch([{}]))
    }
    expect(backups().map((name) => name.slice(7, 17))).toEqual(['2026-02-03', '2026-02-04', '2026-02-05'])
  })

  test('a range is known also after its file was put aside', async () => {
    const to = await exporter({ rotation: { max_megabytes: 0.0001 } })
    const delivery = testDelivery([testBatch([{}])], { token: 'same' })
    await deliver(to, testBatch([{}]))
    await to.deliver?.(delivery, NEVER)
    await to.stop?.(NEVER)
    await (await exporter({ rotation: { max_megabytes: 0.0001 } })).deliver?.(delivery, NEVER)
    expect(backups()).toHaveLength(1)
    expect(lines()).toHaveLength(1)
  })

  test('other files of the directory are left alone', async () => {
    for (const name of ['traces-notes.jsonl', 'other-2020-01-01T00-00-00.000.jsonl']) {
      writeFileSync(join(folder, name), 'x')
    }
    await exporter({ rotation: { max_days: 1, max_backups: 1 } })
    expect(readdirSync(folder)).toEqual(
      expect.arrayContaining(['traces-notes.jsonl', 'other-2020-01-01T00-00-00.000.jsonl']),
    )
  })
})

test('two pipelines may share it: each range of each is there once', async () => {
  const to = await exporter()
  const of = (cursor: string) => ({ ...testDelivery([testBatch([{}])], { token: 'same' }), cursor })
  await Promise.all(['a', 'b', 'a', 'b'].map((cursor) => Promise.resolve(to.deliver?.(of(cursor), NEVER))))
  expect(lines()).toHaveLength(2)
})

test('a full disk: retryable, nothing torn stays, and it goes on when there is room', async (ctx) => {
  const disk = join(folder, 'disk')
  mkdirSync(disk)
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', disk]).status !== 0) {
    ctx.skip('a full disk is made by mounting a small tmpfs, which needs root')
  }
  try {
    path = join(disk, 'traces.jsonl')
    const to = await exporter()
    await deliver(to, testBatch([{ name: 'first' }]))
    writeFileSync(join(disk, 'ballast'), Buffer.alloc(40_000))
    const big = testBatch([{ name: 'x'.repeat(30_000) }])
    const delivery = testDelivery([big], { token: 'big' })
    for (let i = 0; i < 2; i++) {
      await expect(to.deliver?.(delivery, NEVER)).rejects.toMatchObject({
        code: 'EXPORT_UNAVAILABLE',
        verdict: { do: 'retry' },
        message: expect.stringContaining('the disk is full') as string,
      })
    }
    expect(lines()).toHaveLength(1)
    rmSync(join(disk, 'ballast'))
    await to.deliver?.(delivery, NEVER)
    await to.stop?.(NEVER)
    expect(lines()).toHaveLength(2)
  } finally {
    spawnSync('umount', [disk])
  }
})

test('a place that cannot be written is told at start', async () => {
  mkdirSync(path)
  await expect(exporter()).rejects.toMatchObject({
    code: 'START_FAILED',
    message: expect.stringContaining('EISDIR') as string,
  })
})

function fromLines(bytes: Buffer): Batch[] {
  const texts = bytes.toString().trimEnd().split('\n')
  return texts.map((text) => decodeJsonBatch(Buffer.from(text), testBatch([]).meta))
}

function fromPrefixed(bytes: Buffer): Batch[] {
  const batches: Batch[] = []
  for (let at = 0; at < bytes.length;) {
    const length = bytes.readUInt32BE(at)
    batches.push(decodeBatch(bytes.subarray(at + 4, at + 4 + length), testBatch([]).meta))
    at += 4 + length
  }
  return batches
}
