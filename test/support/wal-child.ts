import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..', '..')
/** The compiled tree; `npm test` has just made it. */
const dist = process.env['WEIR_TEST_DIST'] ?? join(root, 'dist')

/** Runs one of `wal-child.mjs`'s deeds; its lines are collected as they come. */
export class Child<Line> {
  readonly lines: Line[] = []
  readonly #process: ChildProcess
  #errors = ''
  #closed = false
  #wake: (() => void) | undefined

  constructor(what: 'append' | 'reopen' | 'read' | 'pin' | 'put' | 'lease', options: unknown) {
    const script = join(import.meta.dirname, 'wal-child.mjs')
    this.#process = spawn(process.execPath, [script, dist, what, JSON.stringify(options)], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#process.stderr?.on('data', (data: Buffer) => (this.#errors += data.toString()))
    this.#process.once('close', () => {
      this.#closed = true
      this.#wake?.()
    })
    createInterface({ input: this.#process.stdout! }).on('line', (line) => {
      this.lines.push(JSON.parse(line) as Line)
      this.#wake?.()
    })
  }

  /** Resolves once `done` holds for the lines so far; rejects when the process ends before. */
  async until(done: (lines: readonly Line[]) => boolean): Promise<void> {
    while (!done(this.lines)) {
      if (this.#closed) throw new Error(`the child ended early: ${this.#errors}`)
      await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }

  get pid(): number | undefined {
    return this.#process.pid
  }

  /** SIGSTOP: it is there and answers nobody. */
  stop(): void {
    this.#process.kill('SIGSTOP')
  }

  /** kill -9; afterwards `lines` holds all it said. */
  async kill(): Promise<void> {
    if (this.#closed) return
    const closed = once(this.#process, 'close')
    this.#process.kill('SIGKILL')
    await closed
  }
}
