/** Tokens of the JSON in a text: values with the name they stand under, so that they can be edited where they are. */
export interface JsonVisitor {
  /** A string that is a value, decoded; the text to put in its place, or undefined. */
  string(value: string, name: string, hidden: boolean): string | undefined
  /** A number as written. */
  number(written: string, name: string, hidden: boolean): string | undefined
  /** True: all below this name is secret. */
  hides(name: string): boolean
  edit(start: number, end: number, text: string): void
}

/** Nesting that is still walked; deeper is no JSON anybody means. */
const DEEPEST = 512
/** Keys of the entries of a list of named values: `{"name": "Authorization", "value": "…"}`. */
const NAMING = /^(?:name|key|header|field|param|parameter|variable|env)$/i
const VALUE = /^(?:value|val|content|default)$/i

/**
 * Walks the value that begins at `start`. Returns where it ends; the length of the text when it was cut off; -1 - p when
 * it is no JSON at p. Edits made before such a place are void.
 */
export function walkJson(text: string, start: number, visitor: JsonVisitor): number {
  const walker = new Walker(text, visitor)
  const end = walker.value(start, '', false, 0)
  return walker.failedAt < 0 ? end : -1 - walker.failedAt
}

class Walker {
  readonly #text: string
  readonly #visitor: JsonVisitor
  failedAt = -1

  constructor(text: string, visitor: JsonVisitor) {
    this.#text = text
    this.#visitor = visitor
  }

  value(from: number, name: string, hidden: boolean, depth: number): number {
    const at = this.#space(from)
    if (at >= this.#text.length) return at
    const char = this.#text[at]!
    if (char === '"') return this.#string(at, name, hidden)
    if (char === '{' || char === '[') {
      if (depth >= DEEPEST) return this.#fail(at)
      return char === '{' ? this.#object(at, hidden, depth) : this.#array(at, name, hidden, depth)
    }
    return this.#literal(at, name, hidden)
  }

  #object(from: number, hidden: boolean, depth: number): number {
    let at = this.#space(from + 1)
    let naming = ''
    if (this.#text[at] === '}') return at + 1
    while (at < this.#text.length) {
      if (this.#text[at] !== '"') return this.#fail(at)
      const end = stringEnd(this.#text, at)
      // Cut off inside a name: not to be taken for one, or nobody would look at it.
      if (end === this.#text.length) return this.#fail(at)
      const name = decoded(this.#text.slice(at, end))
      at = this.#space(end)
      if (this.#text[at] !== ':') return this.#fail(at)
      const start = this.#space(at + 1)
      const isNamed = naming !== '' && VALUE.test(name)
      const inner = hidden || this.#visitor.hides(name) || (isNamed && this.#visitor.hides(naming))
      at = this.value(start, isNamed ? naming : name, inner, depth + 1)
      if (this.failedAt >= 0) return at
      if (NAMING.test(name) && this.#text[start] === '"') naming = decoded(this.#text.slice(start, at))
      at = this.#space(at)
      if (this.#text[at] === '}') return at + 1
      if (at >= this.#text.length) return at
      if (this.#text[at] !== ',') return this.#fail(at)
      at = this.#space(at + 1)
    }
    return at
  }

  #array(from: number, name: string, hidden: boolean, depth: number): number {
    let at = this.#space(from + 1)
    if (this.#text[at] === ']') return at + 1
    while (at < this.#text.length) {
      at = this.#space(this.value(at, name, hidden, depth + 1))
      if (this.failedAt >= 0) return at
      if (this.#text[at] === ']') return at + 1
      if (at >= this.#text.length) return at
      if (this.#text[at] !== ',') return this.#fail(at)
      at = this.#space(at + 1)
    }
    return at
  }

  #string(at: number, name: string, hidden: boolean): number {
    const end = stringEnd(this.#text, at)
    const isWhole = end > at + 1 && this.#text[end - 1] === '"'
    const edited = this.#visitor.string(decoded(this.#text.slice(at, end)), name, hidden)
    if (edited !== undefined) {
      const written = JSON.stringify(edited)
      this.#visitor.edit(at, end, isWhole ? written : written.slice(0, -1))
    }
    return end
  }

  #literal(at: number, name: string, hidden: boolean): number {
    LITERAL.lastIndex = at
    const found = LITERAL.exec(this.#text)?.[0]
    if (found === undefined) return this.#fail(at)
    const end = at + found.length
    const edited = NUMBER.test(found) ? this.#visitor.number(found, name, hidden) : undefined
    if (edited !== undefined) this.#visitor.edit(at, end, JSON.stringify(edited))
    return end
  }

  #space(from: number): number {
    let at = from
    while (at < this.#text.length && isSpace(this.#text.charCodeAt(at))) at++
    return at
  }

  #fail(at: number): number {
    if (this.failedAt < 0) this.failedAt = at
    return at
  }
}

const LITERAL = /-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.:-])|true\b|false\b|null\b|NaN\b|-?Infinity\b/y
const NUMBER = /^-?\d/

function isSpace(code: number): boolean {
  return code === 32 || code === 10 || code === 13 || code === 9
}

/** Behind the closing quote; the end of the text when it was cut off. */
function stringEnd(text: string, at: number): number {
  for (let i = at + 1; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code === 92) i++
    else if (code === 34) return i + 1
  }
  return text.length
}

/** The string in quotes; what cannot be decoded (raw line breaks, cut escapes) as well as can be. */
function decoded(quoted: string): string {
  if (!quoted.includes('\\'))
    return quoted.endsWith('"') && quoted.length > 1 ? quoted.slice(1, -1) : quoted.slice(1)
  try {
    return JSON.parse(quoted) as string
  } catch {
    return unescaped(quoted.endsWith('"') ? quoted.slice(1, -1) : quoted.slice(1))
  }
}

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', b: '\b', f: '\f' }

/** Escapes of JSON resolved; those that are none stay. */
export function unescaped(text: string): string {
  return text.replace(
    /\\(?:u([0-9a-fA-F]{4})|([^u]))/g,
    (whole, hex: string | undefined, char: string | undefined) => {
      if (hex !== undefined) return String.fromCharCode(Number.parseInt(hex, 16))
      return char === undefined ? whole : (ESCAPES[char] ?? char)
    },
  )
}
