import { hash } from 'node:crypto'
import { reject } from '../../fault.ts'
import { loadRun, runParams, type Ask, type RunRef } from '../load.ts'
import { runDigests } from '../stored-span.ts'
import type { RunSteps } from '../steps.ts'
import { diffRuns, type RunDiff } from './diff.ts'
import { BUILT_IN, Profile, type ProfileConfig } from './profile.ts'

/** Changes whenever the same runs would give another diff. */
const VERSION = 1
const DIGEST_LIMITS = { maxRows: 10_000, maxBytes: 4 * 1024 * 1024, timeoutMs: 30_000 }

/** Compares stored runs by named profiles; keeps what it has made by the content of what it was made of. */
export class DiffDesk {
  readonly #ask: Ask
  readonly #named: ReadonlyMap<string, Profile>
  readonly #maxBytes: number
  /** Oldest use first. */
  readonly #kept = new Map<string, { readonly diff: RunDiff; readonly bytes: number }>()
  #bytes = 0

  constructor(ask: Ask, profiles: Readonly<Record<string, ProfileConfig>>, maxBytes: number) {
    this.#ask = ask
    this.#maxBytes = maxBytes
    this.#named = new Map(
      Object.entries({ ...BUILT_IN, ...profiles }).map(([name, config]) => [name, new Profile(config)]),
    )
  }

  /** `profile`: a name, or one of the caller's own. NOT_FOUND for a run or a name that is not there. */
  async diff(
    a: RunRef,
    b: RunRef,
    profile: string | ProfileConfig,
    signal: AbortSignal,
  ): Promise<{ readonly diff: RunDiff; readonly cached: boolean }> {
    const rules = typeof profile === 'string' ? this.#profile(profile) : new Profile(profile)
    const key = await this.#key(a, b, rules, signal)
    const kept = this.#kept.get(key)
    if (kept !== undefined) {
      this.#kept.delete(key)
      this.#kept.set(key, kept)
      return { diff: kept.diff, cached: true }
    }
    const [left, right] = [await this.#load(a, signal), await this.#load(b, signal)]
    const diff = diffRuns(left, right, rules)
    this.#keep(key, diff)
    return { diff, cached: false }
  }

  #profile(name: string): Profile {
    const found = this.#named.get(name)
    if (found !== undefined) return found
    throw reject('NOT_FOUND', `there is no profile ${name}; there are: ${[...this.#named.keys()].join(', ')}`)
  }

  #load(run: RunRef, signal: AbortSignal): Promise<RunSteps> {
    return loadRun(this.#ask, run, signal)
  }

  /** By what is stored, read where it lies: a span that came late, a new price or a redaction makes another diff. */
  async #key(a: RunRef, b: RunRef, { digest }: Profile, signal: AbortSignal): Promise<string> {
    const parts: unknown[] = [VERSION, digest, a, b]
    for (const { id, tenant } of [a, b]) {
      const params = { ...runParams(id), ...(tenant !== undefined && { tenant }) }
      const sql = runDigests(tenant !== undefined)
      parts.push((await this.#ask({ sql, params, own: true, ...DIGEST_LIMITS }, signal)).rows)
    }
    return hash('sha256', JSON.stringify(parts), 'hex')
  }

  #keep(key: string, diff: RunDiff): void {
    const bytes = JSON.stringify(diff).length * 2
    if (bytes > this.#maxBytes / 4 || this.#kept.has(key)) return
    this.#kept.set(key, { diff, bytes })
    this.#bytes += bytes
    for (const [oldest, { bytes: freed }] of this.#kept) {
      if (this.#bytes <= this.#maxBytes) return
      this.#kept.delete(oldest)
      this.#bytes -= freed
    }
  }
}
