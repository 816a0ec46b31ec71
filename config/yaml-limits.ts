import { Lexer } from 'yaml'

/**
 * Bounds on a YAML text, checked on its tokens before it is composed: the composer of `yaml` recurses, and deep
 * nesting ends the process (measured: 50,000 `[` abort it with "out of memory"). The lexer is linear.
 */
export const LIMITS = { bytes: 1024 * 1024, depth: 64, tokens: 300_000, aliases: 50 } as const

export interface LimitBreak {
  readonly offset: number
  readonly message: string
}

/** The first limit that `text` breaks, or undefined. */
export function overLimit(text: string): LimitBreak | undefined {
  const nesting = new Nesting()
  let offset = 0
  let tokens = 0
  for (const token of new Lexer().lex(text)) {
    if (++tokens > LIMITS.tokens) return { offset, message: `more than ${LIMITS.tokens} YAML tokens` }
    if (isControl(token)) continue
    if (nesting.add(token) > LIMITS.depth) {
      return { offset, message: `nested more than ${LIMITS.depth} levels deep` }
    }
    offset += token.length
  }
  return undefined
}

/** The lexer's own marks (document, flow error, scalar) are no part of the text. */
function isControl(token: string): boolean {
  return token === '\u0002' || token === '\u0018' || token === '\u001f'
}

/** Counts open flow collections, and the columns at which block content stands on the way to here. */
class Nesting {
  readonly #columns: number[] = []
  #flow = 0
  #column = 0

  /** Takes the next token; returns the depth after it. */
  add(token: string): number {
    if (token === '[' || token === '{') this.#flow++
    else if (token === ']' || token === '}') this.#flow = Math.max(0, this.#flow - 1)
    else if (this.#flow === 0 && token !== ':' && token.trim() !== '') this.#stand(this.#column)
    const newline = token.lastIndexOf('\n')
    this.#column = newline < 0 ? this.#column + token.length : token.length - newline - 1
    return this.#columns.length + this.#flow
  }

  #stand(column: number): void {
    while ((this.#columns.at(-1) ?? -1) > column) this.#columns.pop()
    if (this.#columns.at(-1) !== column) this.#columns.push(column)
  }
}
