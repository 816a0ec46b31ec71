import { setImmediate } from 'node:timers/promises'
import { decodeStream, ToonDecodeError } from '@toon-format/toon'
import { reject } from '../fault.ts'

export interface ToonTextOptions {
  /** Lists and objects within each other. */
  readonly maxDepth: number
  /** Characters of one line. */
  readonly maxLine: number
  /** As the format has it; default true. */
  readonly strict?: boolean
  readonly indentSize?: number
}

/** The library keeps every blank line and looks through them at each list. */
const MAX_BLANK_LINES = 1000
/** The decoder takes up to a second per MiB (measured, 600 KB of short rows): others get their turn in between. */
const TURN_MS = 5

type Container = unknown[] | Record<string, unknown>

/**
 * Decodes TOON (github.com/toon-format/spec) without holding up the daemon. Throws BATCH_MALFORMED (reject) with the
 * line; never the line's text.
 */
export async function decodeToonText(text: string, options: ToonTextOptions): Promise<unknown> {
  const turn = new Turn()
  const { strict = true, indentSize = 2 } = options
  const built = new Builder(options.maxDepth)
  try {
    for await (const event of decodeStream(linesOf(text, options, turn), { strict, indentSize })) {
      if (event.type === 'key') built.key = event.key
      else if (event.type === 'primitive') built.add(event.value)
      else if (event.type === 'startObject') built.open({})
      else if (event.type === 'startArray') built.open([])
      else built.close()
      if (turn.isOver()) await turn.next()
    }
  } catch (error) {
    if (!(error instanceof ToonDecodeError) && !(error instanceof RangeError)) throw error
    const line = error instanceof ToonDecodeError ? error.line : undefined
    const at = line === undefined ? '' : ` in line ${line}`
    throw reject('BATCH_MALFORMED', `the body is not valid TOON${at}`, { cause: error })
  }
  return built.root
}

class Turn {
  #began = performance.now()
  #count = 0

  isOver(): boolean {
    return (++this.#count & 31) === 0 && performance.now() - this.#began > TURN_MS
  }

  async next(): Promise<void> {
    await setImmediate()
    this.#began = performance.now()
  }
}

async function* linesOf(text: string, { maxLine }: ToonTextOptions, turn: Turn): AsyncGenerator<string> {
  let blank = 0
  for (let at = 0, number = 1; at <= text.length; number++) {
    const found = text.indexOf('\n', at)
    const end = found < 0 ? text.length : found
    if (end - at > maxLine) throw tooMuch(`line ${number} is longer than ${maxLine} characters`)
    const line = text.slice(at, end)
    if (line.trim() === '' && ++blank > MAX_BLANK_LINES)
      throw tooMuch(`over ${MAX_BLANK_LINES} lines are blank`)
    yield line
    if (turn.isOver()) await turn.next()
    at = end + 1
  }
}

class Builder {
  root: unknown
  key = ''
  readonly #maxDepth: number
  readonly #stack: Container[] = []

  constructor(maxDepth: number) {
    this.#maxDepth = maxDepth
  }

  open(container: Container): void {
    this.add(container)
    this.#stack.push(container)
    if (this.#stack.length > this.#maxDepth)
      throw tooMuch(`it is nested deeper than ${this.#maxDepth} levels`)
  }

  close(): void {
    this.#stack.pop()
  }

  add(value: unknown): void {
    const parent = this.#stack.at(-1)
    if (parent === undefined) this.root = value
    else if (Array.isArray(parent)) parent.push(value)
    else if (this.key === '__proto__') {
      Object.defineProperty(parent, this.key, { value, enumerable: true, writable: true, configurable: true })
    } else parent[this.key] = value
  }
}

function tooMuch(what: string) {
  return reject('BATCH_MALFORMED', `the TOON body is not taken: ${what}`)
}
