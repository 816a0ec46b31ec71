import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import { afterEach, expect, test } from 'vitest'

const dist = process.env['WEIR_TEST_DIST'] ?? join(import.meta.dirname, '../../dist')
const ROWS = 200

/** A process that delivers; a line in, a line out. */
class Child {
  readonly process: ChildProcess
  readonly #lines: AsyncIterator<string>

  constructor(directory: string) {
    this.process = spawn(process.execPath, [join(import.meta.dirname, 'kill-child.mjs'), dist, directory], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    const lines: Interface = createInterface({ input: this.process.stdout! })
    this.#lines = lines[Symbol.asyncIterator]()
  }

  /** The next line; undefined when the process has ended. */
  async line(): Promise<string | undefined> {
    const next = await this.#lines.next()
    return next.done === true ? undefined : next.value
  }

  async ask(message: unknown): Promise<string | undefined> {
    this.process.stdin!.write(`${JSON.stringify(message)}\n`)
    return await this.line()
  }

  async end(): Promise<void> {
    const exited =
      this.process.exitCode === null && this.process.signalCode === null
        ? once(this.process, 'exit')
        : undefined
    this.process.stdin!.end()
    await exited
  }

  async kill(): Promise<void> {
    const exited = once(this.process, 'exit')
    this.process.kill('SIGKILL')
    await exited
  }
}

const children: Child[] = []
const folders: string[] = []
afterEach(async () => {
  for (const child of children.splice(0))
    if (child.process.exitCode === null && child.process.signalCode === null) await child.kill()
  for (const folder of folders.splice(0))
    rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
})

async function child(directory: string): Promise<Child> {
  const made = new Child(directory)
  children.push(made)
  expect(await made.line()).toBe('ready')
  return made
}

function newDirectory(): string {
  const folder = mkdtempSync(join(tmpdir(), 'weir-kill-'))
  folders.push(folder)
  return join(folder, 'data')
}

/** Rows, different rows, and trace ids in the look-up, of ranges 1 and 2. */
const COUNTS = `SELECT (SELECT groupArray((n, u)) FROM (SELECT count() AS n, uniqExact(WalRow) AS u FROM otel_traces GROUP BY WalSeq ORDER BY WalSeq)) AS spans,
  (SELECT uniqExact(TraceId) FROM otel_traces_trace_id_ts) AS traces`

const EXACT = JSON.stringify([
  [
    [
      [`${ROWS}`, `${ROWS}`],
      [`${ROWS}`, `${ROWS}`],
    ],
    '2',
  ],
])

async function expectExact(directory: string): Promise<void> {
  const second = await child(directory)
  expect(await second.ask({ seq: 2, attempt: 1, rows: ROWS })).toBe('done')
  expect(await second.ask({ sql: COUNTS })).toBe(EXACT)
  await second.end()
}

test('killed before the insert, the repeat stores the range', async () => {
  const directory = newDirectory()
  const first = await child(directory)
  expect(await first.ask({ seq: 1, attempt: 0, rows: ROWS })).toBe('done')
  await first.kill()
  await expectExact(directory)
})

test('killed after the insert and before it was recorded, the repeat stores nothing more', async () => {
  const directory = newDirectory()
  const first = await child(directory)
  for (const seq of [1, 2]) expect(await first.ask({ seq, attempt: 0, rows: ROWS })).toBe('done')
  await first.kill()
  await expectExact(directory)
})

// MergeTree logs the token, then renames the part: for two partitions and the look-up that is several renames.
// A process that is killed at one of them leaves what the repeat has to complete.
test.for([
  ['the part is begun', 'mkdir', 1],
  ['the first part is renamed', 'rename,renameat,renameat2', 1],
  ['the second', 'rename,renameat,renameat2', 2],
  ['the third', 'rename,renameat,renameat2', 3],
  ['the block is in its file', 'ftruncate', 1],
] as const)(
  'killed as %s, the repeat completes the range',
  { timeout: 180_000 },
  async ([, calls, nth], ctx) => {
    if (spawnSync('strace', ['-V']).status !== 0) ctx.skip('strace is missing: this kill was not tried')
    const directory = newDirectory()
    const first = await child(directory)
    expect(await first.ask({ seq: 1, attempt: 0, rows: ROWS })).toBe('done')
    const tracer = spawn(
      'strace',
      [
        '-f',
        '-p',
        String(first.process.pid),
        '-e',
        `trace=${calls}`,
        '-e',
        `inject=${calls}:signal=KILL:when=${nth}`,
      ],
      {
        stdio: ['ignore', 'ignore', 'pipe'],
      },
    )
    const tracerExit = once(tracer, 'exit')
    await once(createInterface({ input: tracer.stderr }), 'line')
    const killed = once(first.process, 'exit')
    expect(await first.ask({ seq: 2, attempt: 0, rows: ROWS })).toBeUndefined()
    expect(await killed).toEqual([null, 'SIGKILL'])
    await tracerExit
    await expectExact(directory)
  },
)

/** Of range 1: what its spans say, rows and different rows. */
const TEXTS = 'SELECT StatusMessage, count(), uniqExact(WalRow) FROM otel_traces GROUP BY StatusMessage'

// The cursor of the delivery had not advanced: it is repeated, before and after the replay is.
test.for([
  ['are made', 'LEFT JOIN', 'done'],
  ['are marked as moving', 'RENAME TABLE', 'done'],
  ['are to replace the old ones', ' DELETE ', 'done'],
  ['are to be put in, and the old ones are gone', 'INSERT INTO', 'EXPORT_UNAVAILABLE'],
  ['are in the table, still marked as moving', 'DROP TABLE', 'done'],
] as const)(
  'killed as the new rows of a replay %s, the repeats have all rows there once',
  { timeout: 180_000 },
  async ([, at, delivered]) => {
    const directory = newDirectory()
    const first = await child(directory)
    expect(await first.ask({ seq: 1, attempt: 0, rows: ROWS })).toBe('done')
    expect(await first.ask({ replace: 1, rows: ROWS, at })).toBeUndefined()
    const second = await child(directory)
    expect(await second.ask({ seq: 1, attempt: 1, rows: ROWS })).toMatch(delivered)
    expect(await second.ask({ replace: 1, rows: ROWS, at: 'nothing' })).toBe('done')
    expect(await second.ask({ seq: 1, attempt: 2, rows: ROWS })).toBe('done')
    expect(await second.ask({ sql: TEXTS })).toBe(JSON.stringify([['as it is now', `${ROWS}`, `${ROWS}`]]))
    await second.end()
  },
)
