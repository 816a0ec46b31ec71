const NONE: readonly number[] = []

/** Aho-Corasick over ASCII without case: which of the words are in a text, in one pass. */
export class Keywords {
  readonly words: readonly string[]
  readonly #classes = new Uint8Array(128)
  readonly #width: number
  /** Next state per state and class. */
  readonly #next: Int32Array
  /** Per state: the index + 1 of the word that ends here; 0 for none. */
  readonly #ends: Int32Array
  /** Per state: the longest shorter suffix at which a word ends; 0 for none. */
  readonly #link: Int32Array
  /** In which scan a state was last counted, so that each word is listed once. */
  readonly #seen: Int32Array
  #scan = 0

  constructor(words: readonly string[]) {
    this.words = [...new Set(words.map((word) => word.toLowerCase()))]
    let classes = 1
    for (const char of this.words.join('')) {
      const code = char.charCodeAt(0)
      if (code < 128 && this.#classes[code] === 0) this.#classes[code] = classes++
    }
    for (let code = 65; code <= 90; code++) this.#classes[code] = this.#classes[code + 32]!
    this.#width = classes
    const states = this.words.reduce((sum, word) => sum + word.length, 1)
    this.#next = new Int32Array(states * classes)
    this.#ends = new Int32Array(states)
    this.#link = new Int32Array(states)
    this.#seen = new Int32Array(states)
    this.#complete(this.#tree())
  }

  /** The indexes of the words in the text, each once. */
  scan(text: string): readonly number[] {
    const next = this.#next
    const classes = this.#classes
    const width = this.#width
    const scan = ++this.#scan
    let state = 0
    let found = NONE as number[]
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i)
      state = next[state * width + (code < 128 ? classes[code]! : 0)]!
      let at = this.#ends[state] === 0 ? this.#link[state]! : state
      while (at > 0 && this.#seen[at] !== scan) {
        this.#seen[at] = scan
        if (found === NONE) found = []
        found.push(this.#ends[at]! - 1)
        at = this.#link[at]!
      }
    }
    return found
  }

  /** The trie of the words; the number of its states. */
  #tree(): number {
    let states = 1
    for (const [index, word] of this.words.entries()) {
      let state = 0
      for (const char of word) {
        const at = state * this.#width + this.#classes[char.charCodeAt(0)]!
        if (this.#next[at] === 0) this.#next[at] = states++
        state = this.#next[at]!
      }
      this.#ends[state] = index + 1
    }
    return states
  }

  /** Breadth first, so that what a state falls back to is complete before it. */
  #complete(states: number): void {
    const fallback = new Int32Array(states)
    const queue: number[] = []
    for (let kind = 0; kind < this.#width; kind++) {
      const child = this.#next[kind]!
      if (child > 0) queue.push(child)
    }
    for (const state of queue) {
      for (let kind = 0; kind < this.#width; kind++) {
        const at = state * this.#width + kind
        const back = this.#next[fallback[state]! * this.#width + kind]!
        const child = this.#next[at]!
        if (child === 0) {
          this.#next[at] = back
          continue
        }
        fallback[child] = back
        this.#link[child] = this.#ends[back] === 0 ? this.#link[back]! : back
        queue.push(child)
      }
    }
  }
}
