const REMEMBERED = 8192

/**
 * Makes a publisher's own retry harmless: an id that was stored, or is being stored, in this process gives the same
 * sequence again. A failed commit stores nothing (one transaction), so a failed id may be tried again.
 */
export class RecentIds {
  readonly #seqs = new Map<string, Promise<number>>()

  async once(id: string, store: () => Promise<number>): Promise<number> {
    const known = this.#seqs.get(id)
    if (known !== undefined) return known
    const stored = store()
    this.#seqs.set(id, stored)
    if (this.#seqs.size > REMEMBERED) this.#forgetOldest()
    try {
      return await stored
    } catch (error) {
      this.#seqs.delete(id)
      throw error
    }
  }

  #forgetOldest(): void {
    for (const id of this.#seqs.keys()) {
      this.#seqs.delete(id)
      return
    }
  }
}
