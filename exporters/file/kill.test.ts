import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'

const dist = process.env['WEIR_TEST_DIST'] ?? join(import.meta.dirname, '../../dist')
const ROUNDS = Number(process.env['WEIR_FILE_KILLS'] ?? 4)
const ROWS = 50

/** Runs the child from range `first` on and kills it at some moment; the first range that it has not told of. */
async function round(path: string, first: number, attempt: number, killMs: number): Promise<number> {
  const script = join(import.meta.dirname, 'kill-child.mjs')
  const args = [script, dist, path, String(first), String(attempt)]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = once(child, 'exit')
  let next = first
  const told = (async () => {
    for await (const line of createInterface({ input: child.stdout })) next = Number(line) + 1
  })()
  await once(child.stdout, 'readable')
  await delay(killMs)
  child.kill('SIGKILL')
  await exited
  await told
  return next
}

test(`each span once through ${ROUNDS} times kill -9, rotation included`, { timeout: 300_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'weir-file-'))
  try {
    const path = join(folder, 'traces.jsonl')
    let next = 0
    for (let i = 0; i < ROUNDS; i++) next = await round(path, next, i === 0 ? 0 : 1, (i * 7) % 40)
    // What the last one left torn counts for nothing until somebody opens the file again.
    await round(path, next, 1, 0)
    const names = readdirSync(folder).filter((name) => name.endsWith('.jsonl'))
    expect(names.length).toBeGreaterThan(ROUNDS / 5)
    const lengths = JSON.parse(readFileSync(`${path}.checkpoint`, 'utf8')) as { length: number }
    const counts = new Map<number, number>()
    for (const name of names) {
      const bytes = readFileSync(join(folder, name))
      const text = (name === 'traces.jsonl' ? bytes.subarray(0, lengths.length) : bytes).toString()
      for (const line of text.trimEnd().split('\n')) {
        for (const [, id = ''] of line.matchAll(/"spanId":"([0-9a-f]{16})"/g)) {
          counts.set(parseInt(id, 16), (counts.get(parseInt(id, 16)) ?? 0) + 1)
        }
        if (line !== '') JSON.parse(line)
      }
    }
    expect(Array.from(counts.values()).filter((count) => count !== 1)).toEqual([])
    for (let id = 1; id <= next * ROWS; id++) expect(counts.has(id), `span ${id}`).toBe(true)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
