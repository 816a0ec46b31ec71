import {
  appendFile,
  copyFile,
  mkdir,
  rename,
  rm,
  symlink,
  truncate,
  unlink,
  writeFile,
} from 'node:fs/promises'
import { existsSync } from 'node:fs'
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { keyId } from '../../pipeline/batch/keys.ts'
import { reject, retry } from '../../pipeline/fault.ts'
import { jsonlRig, lines, names, type JsonlRig } from '../../test/support/jsonl-rig.ts'
import { until } from '../../test/support/until.ts'

let rig: JsonlRig
beforeEach(async () => {
  rig = await jsonlRig()
})
afterEach(() => rig.close())

const sorted = () => rig.pipeline.names.toSorted()
const stored = (count: number) => until(() => rig.pipeline.names.length >= count)

/** What must not come has had its chance once something written later has. */
async function marker(name: string): Promise<void> {
  await writeFile(rig.path(`marker-${name}.jsonl`), `{"n":"marker-${name}"}\n`)
  await until(() => rig.pipeline.names.includes(`marker-${name}`))
}

describe('reading on', () => {
  it('reads what is there and what comes', async () => {
    await writeFile(rig.path('a.jsonl'), lines('a', 0, 100))
    await rig.start()
    await stored(100)
    await appendFile(rig.path('a.jsonl'), lines('a', 100, 150))
    await stored(150)
    expect(rig.pipeline.names).toEqual(names('a', 0, 150))
  })

  it('starts at the end the first time only, and reads files that came later whole', async () => {
    await writeFile(rig.path('a.jsonl'), `${lines('old', 0, 3)}{"n":"whole`)
    await rig.start({ start_at: 'end' })
    await until(async () => (await rig.state.list('tail' as never)).length >= 2)
    await appendFile(rig.path('a.jsonl'), ' line"}\n')
    await writeFile(rig.path('b.jsonl'), lines('b', 0, 3))
    await stored(4)
    await rig.stop()
    await writeFile(rig.path('c.jsonl'), lines('c', 0, 2))
    await rig.start({ start_at: 'end' })
    await stored(6)
    expect(sorted()).toEqual(['b0', 'b1', 'b2', 'c0', 'c1', 'whole line'])
  })

  it('goes on where it was after a restart', async () => {
    await writeFile(rig.path('a.jsonl'), lines('a', 0, 50))
    await rig.start()
    await stored(50)
    await rig.stop()
    await appendFile(rig.path('a.jsonl'), lines('a', 50, 60))
    await rig.start()
    await stored(60)
    expect(rig.pipeline.names).toEqual(names('a', 0, 60))
    expect(rig.pipeline.lookups).toBe(0)
  })

  it('waits for the rest of a line, and takes a whole last line without newline after a while', async () => {
    await writeFile(rig.path('a.jsonl'), '{"n":"first"}\n{"n":"sec')
    await rig.start()
    await stored(1)
    await marker('partial')
    await appendFile(rig.path('a.jsonl'), 'ond"}')
    await stored(3)
    await appendFile(rig.path('a.jsonl'), '\n{"n":"third"}\n')
    await stored(4)
    expect(rig.pipeline.names.filter((name) => !name.startsWith('marker'))).toEqual([
      'first',
      'second',
      'third',
    ])
    expect(await rig.letters()).toEqual([])
  })

  it('reads many files with few open', async () => {
    for (let n = 0; n < 40; n++) await writeFile(rig.path(`${n}.jsonl`), lines(`${n}-`, 0, 3))
    await rig.start({ max_concurrent_files: 8 })
    await stored(120)
    for (let n = 0; n < 40; n++) await appendFile(rig.path(`${n}.jsonl`), lines(`${n}-`, 3, 5))
    await stored(200)
    expect(new Set(rig.pipeline.names).size).toBe(200)
    await until(async () => {
      const open = /weir_jsonl_open_files\{[^}]*\} (\d+)/.exec(await rig.metrics())
      return Number(open?.[1]) <= 8
    })
  })
})

describe('rotation', () => {
  it('follows a renamed file and reads the new one from its beginning', async () => {
    await writeFile(rig.path('a.jsonl'), lines('a', 0, 100))
    await rig.start()
    await stored(100)
    await appendFile(rig.path('a.jsonl'), lines('a', 100, 120))
    await rename(rig.path('a.jsonl'), rig.path('a.jsonl.1'))
    await writeFile(rig.path('a.jsonl'), lines('b', 0, 50))
    await stored(170)
    await marker('end')
    expect(sorted()).toEqual([...names('a', 0, 120), ...names('b', 0, 50), 'marker-end'].sort())
  })

  it('reads what is left of a file that was renamed out of sight or deleted', async () => {
    await writeFile(rig.path('a.jsonl'), lines('a', 0, 10))
    await writeFile(rig.path('b.jsonl'), lines('b', 0, 10))
    await rig.start({ rotate_wait: '30s' })
    await stored(20)
    await appendFile(rig.path('a.jsonl'), lines('a', 10, 20))
    await rename(rig.path('a.jsonl'), rig.path('a.old'))
    await appendFile(rig.path('a.old'), lines('a', 20, 30))
    await appendFile(rig.path('b.jsonl'), lines('b', 10, 20))
    await unlink(rig.path('b.jsonl'))
    await stored(50)
    expect(sorted()).toEqual([...names('a', 0, 30), ...names('b', 0, 20)].sort())
  })

  it.each([
    ['smaller', 5],
    ['larger', 300],
  ])('copytruncate: reads the copy no second time, and the new content (%s)', async (_, size) => {
    await writeFile(rig.path('a.jsonl'), lines('a', 0, 100))
    await rig.start()
    await stored(100)
    await copyFile(rig.path('a.jsonl'), rig.path('a.jsonl.1'))
    await marker('copied')
    await truncate(rig.path('a.jsonl'), 0)
    await appendFile(rig.path('a.jsonl'), lines('b', 0, size))
    await stored(101 + size)
    await marker('end')
    expect(sorted()).toEqual(
      [...names('a', 0, 100), ...names('b', 0, size), 'marker-copied', 'marker-end'].sort(),
    )
  })

  it('finds a copy made while it did not run, and reads on in it', async () => {
    await writeFile(rig.path('a.jsonl'), lines('a', 0, 100))
    await rig.start()
    await stored(100)
    await rig.stop()
    await appendFile(rig.path('a.jsonl'), lines('a', 100, 110))
    await copyFile(rig.path('a.jsonl'), rig.path('a.jsonl.1'))
    await writeFile(rig.path('a.jsonl'), lines('b', 0, 20))
    await rig.start()
    await stored(130)
    await marker('end')
    expect(sorted()).toEqual([...names('a', 0, 110), ...names('b', 0, 20), 'marker-end'].sort())
  })

  it('knows the archive of a file again, and reads other archives whole', async () => {
    await writeFile(rig.path('a.jsonl'), lines('a', 0, 100))
    await rig.start()
    await stored(100)
    await writeFile(rig.path('a.jsonl.1.gz'), gzipSync(lines('a', 0, 105)))
    await unlink(rig.path('a.jsonl'))
    await writeFile(rig.path('z.jsonl.gz'), gzipSync(lines('z', 0, 2000)))
    await stored(2105)
    await marker('end')
    expect(sorted()).toEqual([...names('a', 0, 105), ...names('z', 0, 2000), 'marker-end'].sort())
  })

  it('tells files apart that begin alike', async () => {
    const head = lines('same', 0, 30)
    await writeFile(rig.path('a.jsonl'), head + lines('a', 0, 10))
    await rig.start()
    await stored(40)
    await writeFile(rig.path('b.jsonl'), head + lines('b', 0, 10))
    await stored(80)
    await marker('end')
    expect(rig.pipeline.names).toHaveLength(81)
  })
})

describe('what is not read', () => {
  it('links out of the roots, fifos and directories', async () => {
    const secret = join(tmpdir(), `weir-secret-${process.pid}.jsonl`)
    await writeFile(secret, lines('secret', 0, 5))
    await symlink(secret, rig.path('link.jsonl'))
    await symlink(tmpdir(), rig.path('elsewhere'))
    execFileSync('mkfifo', [rig.path('fifo.jsonl')])
    await mkdir(rig.path('directory.jsonl'))
    await symlink('/dev/zero', rig.path('zero.jsonl'))
    await rig.start()
    await marker('end')
    expect(rig.pipeline.names).toEqual(['marker-end'])
    const metrics = await rig.metrics()
    expect(metrics).toMatch(/weir_jsonl_refused_files\{[^}]*outside_roots[^}]*\} 2/)
    expect(metrics).toMatch(/weir_jsonl_refused_files\{[^}]*not_regular[^}]*\} 1/)
    await rm(secret)
  })

  it('links within the roots are read once', async () => {
    await writeFile(rig.path('a.jsonl'), lines('a', 0, 5))
    await symlink(rig.path('a.jsonl'), rig.path('b.jsonl'))
    await rig.start()
    await marker('end')
    expect(sorted()).toEqual([...names('a', 0, 5), 'marker-end'])
  })

  it('excluded and old files', async () => {
    await writeFile(rig.path('a.jsonl'), lines('a', 0, 5))
    await writeFile(rig.path('b.jsonl'), lines('b', 0, 5))
    await rig.start({ exclude: [rig.path('b*')] })
    await stored(5)
    await marker('end')
    expect(sorted()).toEqual([...names('a', 0, 5), 'marker-end'])
  })
})

describe('lines that cannot be read', () => {
  it('are dead-lettered without their content, and the file goes on', async () => {
    const bad = '{"n": "secret" oops}\n'
    const text = `${lines('a', 0, 2)}${bad}[1]\n"x"\n${lines('a', 2, 4)}`
    await writeFile(rig.path('a.jsonl'), text)
    await rig.start({ tenant: 'acme', project: 'p1' })
    await stored(4)
    await until(async () => (await rig.letters()).length > 0)
    const letters = await rig.letters()
    expect(letters).toHaveLength(1)
    const [letter] = letters
    const run = `${bad}[1]\n"x"\n`
    expect(letter).toMatchObject({
      reason: 'no JSON object (3 lines)',
      tenant: 'acme',
      project: 'p1',
      spans: 3,
      format: 'none',
      bytes: 0,
      origin: {
        file: rig.path('a.jsonl'),
        offset: text.indexOf(bad),
        length: run.length,
        sha256: createHash('sha256').update(run).digest('hex'),
      },
    })
    const kept = (await rig.state.list('dead' as never)).map(({ value }) => Buffer.from(value).toString())
    expect(kept.join() + rig.log.join()).not.toContain('secret')
  })

  it('are too long: passed over without being held', async () => {
    const long = `{"n":"${'y'.repeat(300_000)}"}\n`
    await writeFile(rig.path('a.jsonl'), `${lines('a', 0, 1)}${long}${lines('a', 1, 2)}`)
    await rig.start({ max_log_size: 1000, initial_buffer_size: 4096 })
    await stored(2)
    expect(rig.pipeline.names).toEqual(['a0', 'a1'])
    await until(async () => (await rig.letters()).length > 0)
    expect((await rig.letters())[0]?.origin).toMatchObject({
      length: long.length,
      sha256: createHash('sha256').update(long).digest('hex'),
    })
  })

  it('are those that the pipeline will never take, found by halving', async () => {
    rig.pipeline.before = (batch) => {
      for (let row = 0; row < batch.rows; row++) {
        if (batch.name(row) === 'a37') throw reject('SPAN_TOO_LARGE', 'too large')
      }
      return undefined
    }
    await writeFile(rig.path('a.jsonl'), lines('a', 0, 100))
    await rig.start()
    await stored(99)
    expect(sorted()).toEqual(
      names('a', 0, 100)
        .filter((name) => name !== 'a37')
        .sort(),
    )
    const letters = await rig.letters()
    expect(letters.map(({ reason }) => reason)).toEqual(['too large'])
    expect(letters[0]?.origin?.offset).toBe(lines('a', 0, 37).length)
  })

  it('are those of which processors rejected a span', async () => {
    rig.pipeline.before = (batch) => ({ rejected: [{ rows: [batch.rows - 1], reason: 'validators: no' }] })
    await writeFile(rig.path('a.jsonl'), lines('a', 0, 10))
    await rig.start()
    await stored(9)
    await until(async () => (await rig.letters()).length > 0)
    const letters = await rig.letters()
    expect(letters.map(({ reason, origin }) => [reason, origin?.offset])).toEqual([
      ['validators: no', lines('a', 0, 9).length],
    ])
  })
})

describe('toon events', () => {
  const event = (run: string, n: number) =>
    `${JSON.stringify({
      t: '2026-09-01T10:00:00Z',
      actor: 'agent',
      type: n % 2 === 0 ? 'action_request' : 'action_response',
      payload: n % 2 === 0 ? { action: 'search', params: { n } } : { status: 'success', latency_ms: 5 },
      meta: { run_id: run },
    })}\n`
  const seqs = () =>
    rig.pipeline.batches.flatMap((batch) =>
      Array.from({ length: batch.rows }, (_, row) => {
        const text = (key: string) => batch.text(batch.attr(row, keyId(key)))
        return text('toon.seq') === '' ? [] : [`${text('agent.run.id')}/${text('toon.seq')}`]
      }).flat(),
    )

  it('are numbered per run, between lines of other formats', async () => {
    const text = event('r1', 0) + event('r2', 0) + lines('a', 0, 1) + event('r1', 1) + event('r2', 1)
    await writeFile(rig.path('a.jsonl'), text)
    await rig.start()
    await stored(5)
    expect(seqs().sort()).toEqual(['r1/1', 'r1/2', 'r2/1', 'r2/2'])
    expect(rig.pipeline.names).toContain('a0')
    expect(rig.pipeline.names.filter((name) => name === 'execute_tool search')).toHaveLength(4)
    await appendFile(rig.path('a.jsonl'), event('r1', 2))
    await stored(6)
    expect(seqs()).toContain('r1/3')
  })

  it('are not repeated when the answer to them was lost with the daemon', async () => {
    let answers = 0
    rig.pipeline.after = () => {
      if (++answers === 1) throw retry('WAL_UNAVAILABLE', 'no answer', 60_000)
    }
    await writeFile(rig.path('a.jsonl'), event('r1', 0) + event('r1', 1))
    await rig.start()
    await until(() => answers === 1)
    await rig.stop()
    await appendFile(rig.path('a.jsonl'), event('r1', 2))
    await rig.start()
    await stored(3)
    expect(seqs()).toEqual(['r1/1', 'r1/2', 'r1/3'])
    expect(rig.pipeline.lookups).toBe(1)
  })

  it.each(['alive', 'dead'])('that are refused do not repeat the spans between them (%s)', async (daemon) => {
    const numbered = (seq: number) => event('r1', seq).replace('{', `{"seq":${seq},`)
    const refused = event('r1', 9).replace('{', '{"seq":1,')
    const mixed = [numbered(1), lines('a', 0, 1), refused, lines('a', 1, 2), numbered(3)].join('')
    await writeFile(rig.path('a.jsonl'), mixed)
    let halves = 0
    rig.pipeline.after = (batch) => {
      // All of the first half: the daemon dies with its answer.
      if (daemon === 'dead' && batch.name(0).startsWith('execute_tool') && ++halves === 1)
        throw retry('WAL_UNAVAILABLE', 'no answer', 60_000)
    }
    await rig.start()
    if (daemon === 'dead') {
      await until(() => halves === 1)
      await rig.stop()
      await appendFile(rig.path('a.jsonl'), lines('a', 2, 3))
      await rig.start()
      await until(() => rig.pipeline.names.includes('a2'))
    }
    await until(async () => (await rig.letters()).length === 1 && seqs().includes('r1/3'))
    expect(seqs()).toEqual(['r1/1', 'r1/3'])
    expect(rig.pipeline.names.filter((name) => name === 'a0')).toHaveLength(1)
    expect(rig.pipeline.names.filter((name) => name === 'a1')).toHaveLength(1)
  })

  it('that are none, or name no run, are dead-lettered', async () => {
    const nameless = event('r1', 0).replace('"run_id":"r1"', '"agent_id":1')
    await writeFile(
      rig.path('a.jsonl'),
      nameless + event('r1', 1).replace('success', 'splendid') + event('r1', 0),
    )
    await rig.start()
    await stored(1)
    await until(async () => (await rig.letters()).length === 2)
    const reasons = (await rig.letters()).map(({ reason }) => reason).sort()
    expect(reasons[0]).toMatch(/^toon event: meta.run_id: must name the run/)
    expect(reasons[1]).toMatch(/^toon event: payload.status/)
  })
})

describe('a pipeline that does not take data', () => {
  it('is asked again until it does, and nothing is lost or doubled', async () => {
    let refusals = 0
    rig.pipeline.before = () => {
      if (refusals++ < 5) throw retry('WAL_FULL', 'full', 1)
      return undefined
    }
    await writeFile(rig.path('a.jsonl'), lines('a', 0, 20))
    await rig.start()
    await stored(20)
    expect(rig.pipeline.names).toEqual(names('a', 0, 20))
    expect(refusals).toBe(6)
    expect(rig.pipeline.held).toBe(0)
    expect(rig.log.filter((line) => line.includes('files wait'))).toHaveLength(1)
  })

  it('holds the file when the sender is refused, without giving up a line', async () => {
    let allowed = false
    rig.pipeline.admitFault = () => (allowed ? undefined : reject('PERMISSION_DENIED', 'suspended'))
    await writeFile(rig.path('a.jsonl'), lines('a', 0, 5))
    await rig.start()
    await until(() => rig.log.some((line) => line.includes('PERMISSION_DENIED')))
    expect(await rig.letters()).toEqual([])
    await rig.stop()
    allowed = true
    await rig.start()
    await stored(5)
  })

  it('repeats no line of a range of which a processor rejects some, when its answer was lost', async () => {
    rig.pipeline.before = ({ rows }) => (rows < 5 ? undefined : { rejected: [{ rows: [1], reason: 'no' }] })
    let answers = 0
    rig.pipeline.after = () => {
      if (++answers === 1) throw retry('WAL_UNAVAILABLE', 'no answer', 60_000)
    }
    await writeFile(rig.path('a.jsonl'), lines('a', 0, 5))
    await rig.start()
    await until(() => answers === 1)
    await rig.stop()
    await appendFile(rig.path('a.jsonl'), lines('a', 5, 6))
    await rig.start()
    await stored(5)
    expect(rig.pipeline.names).toEqual(['a0', 'a2', 'a3', 'a4', 'a5'])
  })

  it('repeats exactly the range that was under way, once the WAL was asked for it', async () => {
    let answers = 0
    rig.pipeline.after = () => {
      if (++answers === 2) throw retry('WAL_UNAVAILABLE', 'no answer', 60_000)
    }
    await writeFile(rig.path('a.jsonl'), lines('a', 0, 200))
    await rig.start({ initial_buffer_size: 4096 })
    await until(() => answers === 2)
    await rig.stop()
    const published = rig.pipeline.names.length
    await appendFile(rig.path('a.jsonl'), lines('a', 200, 210))
    await rig.start()
    await stored(210)
    expect(rig.pipeline.lookups).toBe(1)
    expect(published).toBeLessThan(200)
    expect(rig.pipeline.names).toEqual(names('a', 0, 210))
  })
})

it('deletes what it has read, if told to', async () => {
  await writeFile(rig.path('a.jsonl'), lines('a', 0, 10))
  await writeFile(rig.path('b.jsonl.gz'), gzipSync(lines('b', 0, 10)))
  await rig.start({ delete_after_read: true })
  await stored(20)
  await until(() => !existsSync(rig.path('a.jsonl')) && !existsSync(rig.path('b.jsonl.gz')))
})

it('reads the rest of a line that a small archive gets later', async () => {
  await writeFile(rig.path('a.jsonl.gz'), gzipSync(`${lines('a', 0, 3)}{"n":"ha`))
  await rig.start({ force_flush_period: '1ms' })
  await stored(3)
  for (const name of ['1', '2', '3']) await marker(name)
  await appendFile(rig.path('a.jsonl.gz'), gzipSync('lf"}\n'))
  await until(() => rig.pipeline.names.includes('half'))
})

it('does not delete an archive that ends within a line', async () => {
  await writeFile(rig.path('a.jsonl.gz'), gzipSync(`${lines('a', 0, 3)}{"n":"ha`))
  await rig.start({ delete_after_read: true, force_flush_period: '1ms' })
  await stored(3)
  for (const name of ['1', '2', '3']) await marker(name)
  expect(existsSync(rig.path('a.jsonl.gz'))).toBe(true)
})

it.each(['utf-16le', 'utf-16be', 'utf-16', 'latin1'] as const)('reads %s', async (encoding) => {
  const text = '{"n":"höher\u010a"}\n{"n":"zwei"}\n'
  const body =
    encoding === 'latin1'
      ? Buffer.from(text.replaceAll('\u010a', 'ÿ'), 'latin1')
      : Buffer.from(encoding === 'utf-16' ? `\ufeff${text}` : text, 'utf16le')
  if (encoding === 'utf-16be') body.swap16()
  await writeFile(rig.path('a.jsonl'), body)
  await rig.start({ encoding })
  await stored(2)
  expect(rig.pipeline.names).toEqual([encoding === 'latin1' ? 'höherÿ' : 'höher\u010a', 'zwei'])
  expect(await rig.letters()).toEqual([])
})
