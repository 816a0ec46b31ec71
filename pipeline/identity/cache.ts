import type { Consent } from '../consent/record.ts'
import { messageOf, retry } from '../fault.ts'
import { within } from '../net/within.ts'
import { sleep } from '../sleep.ts'
import { stateKey, type StateStore } from '../state/state.ts'
import type { Log } from '../telemetry/log.ts'
import { IDENTITY, type Agent, type HmacKey, type Key, type Project, type Tenant } from './records.ts'
import { pathOf, Tables } from './tables.ts'
import type { IdentityView } from './view.ts'

/** A revocation acts within 5 s everywhere (issue 3): a daemon that could not ask for so long lets nobody in. */
const STALE_MS = 5000
const PROBE_MS = 2000
const LIST_EVERY = 15
/** How long a request waits for that. */
const CATCH_UP_MS = 1000
const AGAIN_MS = 500
const PROBE = stateKey('identity_probe')

/** The identity records of a state store in memory, kept fresh by a watch. */
export class IdentityCache implements IdentityView {
  readonly #state: StateStore
  readonly #log: Log
  readonly #tables: Tables
  readonly #stopping = new AbortController()
  #following: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  /** When the last question that the store answered was asked. */
  #askedMs = Number.NEGATIVE_INFINITY
  #isBehind = false
  #catchingUp: Promise<void> | undefined
  #probes = 0

  constructor(state: StateStore, log: Log) {
    this.#state = state
    this.#log = log
    this.#tables = new Tables((key, reason) =>
      log.error({ key, reason }, 'An identity record cannot be read: nobody gets in by it'),
    )
  }

  /** Resolves with everything read. */
  async start(): Promise<void> {
    const changes = await this.#load()
    this.#following = this.#follow(changes)
    this.#timer = setInterval(() => void this.#probe(), PROBE_MS).unref()
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    this.#stopping.abort()
    await this.#following
  }

  tenant(id: string): Tenant | undefined {
    return this.#tables.tenants.get(id)
  }

  project(tenant: string, id: string): Project | undefined {
    return this.#tables.projects.get(pathOf({ tenant, id }))
  }

  agent(tenant: string, id: string): Agent | undefined {
    return this.#tables.agents.get(pathOf({ tenant, id }))
  }

  key(id: string): Key | undefined {
    return this.#tables.keys.get(id)
  }

  bound(binding: string): Key | undefined {
    return this.#tables.bindings.get(binding)
  }

  secretsOf(tenant: string): readonly HmacKey[] {
    return this.#tables.secrets.get(tenant) ?? []
  }

  consentsOf(tenant: string): readonly Consent[] {
    return this.#tables.consents.get(tenant) ?? []
  }

  tenants(): Iterable<Tenant> {
    return this.#tables.tenants.values()
  }

  projects(): Iterable<Project> {
    return this.#tables.projects.values()
  }

  agents(): Iterable<Agent> {
    return this.#tables.agents.values()
  }

  keys(): Iterable<Key> {
    return this.#tables.keys.values()
  }

  isWhole(): boolean {
    return this.#tables.unreadable.size === 0
  }

  async ensureFresh(): Promise<void> {
    if (this.#isFresh()) return
    // A process that was stopped or busy for long may be behind although the store is well: ask it.
    this.#catchingUp ??= this.#catchUp().finally(() => (this.#catchingUp = undefined))
    await within(this.#stopping.signal, CATCH_UP_MS, this.#catchingUp)
    if (this.#isFresh()) return
    const message = 'the state store does not answer: who may send is not known now'
    throw retry('STATE_UNAVAILABLE', message, AGAIN_MS)
  }

  #isFresh(): boolean {
    return performance.now() - this.#askedMs < STALE_MS
  }

  /** The watch begins before the list is read, so that nothing falls between the two. */
  async #load(): Promise<ReturnType<StateStore['watch']>> {
    const askedMs = performance.now()
    const changes = this.#state.watch(IDENTITY, this.#stopping.signal)
    await this.#list()
    this.#askedMs = askedMs
    this.#isBehind = false
    return changes
  }

  async #list(): Promise<void> {
    const asOf = this.#tables.revision
    this.#tables.replace(await this.#state.list(IDENTITY), asOf)
  }

  async #follow(first: ReturnType<StateStore['watch']>): Promise<void> {
    let changes: typeof first | undefined = first
    while (!this.#stopping.signal.aborted) {
      try {
        changes ??= await this.#load()
        for await (const change of changes) this.#tables.apply(change)
      } catch (error) {
        this.#log.warn({ error: messageOf(error) }, 'The watch of the identity records broke off')
      }
      this.#isBehind = true
      changes = undefined
      await sleep(AGAIN_MS, this.#stopping.signal)
    }
  }

  /** In a cluster a watch may begin a moment late, and one that broke off sees nothing: then everything is read. */
  #probe(): Promise<void> {
    const isDue = this.#probes++ % LIST_EVERY === 0
    return this.#isBehind || isDue ? this.#catchUp() : this.#ask(() => this.#state.get(PROBE))
  }

  #catchUp(): Promise<void> {
    return this.#ask(() => this.#list())
  }

  /** Never rejects. */
  async #ask(question: () => Promise<unknown>): Promise<void> {
    const askedMs = performance.now()
    try {
      await question()
      this.#askedMs = Math.max(this.#askedMs, askedMs)
    } catch (error) {
      this.#log.debug({ error: messageOf(error) }, 'the state store did not answer')
    }
  }
}
