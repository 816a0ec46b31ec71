type Callback = () => void

/** Who hears that a signal aborts. Mostly that is nobody or one, for whom nothing is allocated. */
class Watch {
  #isAborted: boolean
  #first: Callback | undefined
  #more: Set<Callback> | undefined

  constructor(signal: AbortSignal) {
    this.#isAborted = signal.aborted
    if (!this.#isAborted) signal.addEventListener('abort', () => this.#abort(), { once: true })
  }

  get isAborted(): boolean {
    return this.#isAborted
  }

  /** Called back once when the signal aborts, at once if it has; until it is deleted. */
  add(callback: Callback): void {
    if (this.#isAborted) callback()
    else if (this.#first === undefined) this.#first = callback
    else (this.#more ??= new Set()).add(callback)
  }

  delete(callback: Callback): void {
    if (this.#first === callback) this.#first = undefined
    else this.#more?.delete(callback)
  }

  #abort(): void {
    const callbacks = [...(this.#first ? [this.#first] : []), ...(this.#more ?? [])]
    this.#isAborted = true
    this.#first = this.#more = undefined
    for (const callback of callbacks) callback()
  }
}

/** On the signal itself: a WeakMap would hash the signal for every request. */
const WATCH: unique symbol = Symbol('watch')
type Watched = AbortSignal & { [WATCH]?: Watch }

/**
 * The watch of a signal, behind one listener that stays: adding and removing a listener of an AbortSignal, or asking it
 * whether it has aborted, takes more CPU than all else that the log's writer does for a small request, and receivers use
 * their signals again.
 */
export function watchOf(signal: Watched): Watch {
  return (signal[WATCH] ??= new Watch(signal))
}
