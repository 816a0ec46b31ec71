/** A piece of a value: text, or a reference `${scheme:target:-fallback}` whose target and fallback may hold references. */
export type Part = string | Reference

export interface Reference {
  readonly scheme: 'env' | 'file'
  readonly target: readonly Part[]
  /** After `:-`; only `env` has one. */
  readonly fallback: readonly Part[] | undefined
}

const MAX_DEPTH = 20

/** Splits a value into text and references. `$$` is one `$`; a `$` without a brace is itself. Throws an Error on bad syntax. */
export function parseReferences(text: string): Part[] {
  const scanner = new Scanner(text)
  return scanner.parts('', 0)
}

class Scanner {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  /** Reads up to one of the `stops` (not taken) or the end. */
  parts(stops: '' | '}' | ':-}', depth: number): Part[] {
    const parts: Part[] = []
    let plain = ''
    while (this.#at < this.#text.length && !this.#stopped(stops)) {
      if (this.#take('$$')) plain += '$'
      else if (this.#take('${')) {
        if (plain !== '') parts.push(plain)
        plain = ''
        parts.push(this.#reference(depth + 1))
      } else plain += this.#text[this.#at++] ?? ''
    }
    if (plain !== '' || parts.length === 0) parts.push(plain)
    return parts
  }

  #reference(depth: number): Reference {
    if (depth > MAX_DEPTH) throw new Error(`references are nested more than ${MAX_DEPTH} deep`)
    const scheme = this.#scheme()
    const target = this.parts(scheme === 'env' ? ':-}' : '}', depth)
    const fallback = this.#take(':-') ? this.parts('}', depth) : undefined
    if (!this.#take('}')) throw new Error('a reference ${ has no closing }; write $$ for a plain $')
    return { scheme, target, fallback }
  }

  /** `env` when no scheme is written (the collector's default scheme). */
  #scheme(): Reference['scheme'] {
    const match = /^([A-Za-z][A-Za-z0-9+.-]*):(?!-)/.exec(this.#text.slice(this.#at, this.#at + 40))
    if (match === null) return 'env'
    const [whole, scheme = ''] = match
    if (scheme !== 'env' && scheme !== 'file') {
      throw new Error(
        `\${${scheme}:…} is not supported; known: \${env:NAME}, \${env:NAME:-default}, \${file:PATH}`,
      )
    }
    this.#at += whole.length
    return scheme
  }

  #stopped(stops: string): boolean {
    if (stops === '') return false
    return this.#text[this.#at] === '}' || (stops === ':-}' && this.#text.startsWith(':-', this.#at))
  }

  #take(token: string): boolean {
    if (!this.#text.startsWith(token, this.#at)) return false
    this.#at += token.length
    return true
  }
}
