import type { Batch } from '../../pipeline/batch/batch.ts'
import { rawView } from '../../pipeline/batch/raw.ts'
import type { Processor } from '../../pipeline/component.ts'
import type { Context } from '../../pipeline/factory.ts'
import { Fault, reject } from '../../pipeline/fault.ts'
import { tenantSalt } from '../../pipeline/privacy/pseudonyms.ts'
import type { Counter } from '../../pipeline/telemetry/meter.ts'
import type { SanitizerConfig } from './config.ts'
import { createDetectors } from './detect/registry.ts'
import { SensitiveKeys, sensitiveWords } from './keys.ts'
import { type Mode, Policy } from './policy.ts'
import { RedactionLog } from './redaction-log.ts'
import { customDetectors } from './rules.ts'
import { openSalt } from './salt.ts'
import { Scrubber } from './text/scrubber.ts'
import { scrubFacts } from './walk/facts.ts'
import { Editor, type Redaction } from './walk/editor.ts'
import { hasResourceMark } from './walk/mark.ts'
import { SuspectFinder, type Suspects } from './walk/suspects.ts'

const MOST_POLICIES = 10_000

/** Replaces personal data and secrets wherever they stand; a batch that it cannot check does not pass. */
export class Sanitizer implements Processor {
  readonly redacts = true
  readonly #config: SanitizerConfig
  readonly #context: Pick<Context, 'state' | 'vault' | 'pseudonyms'>
  readonly #keys: SensitiveKeys
  readonly #scrubber: Scrubber
  readonly #finder: SuspectFinder
  readonly #log: RedactionLog
  readonly #counter: Counter | undefined
  readonly #policies = new Map<string, Policy>()
  /** Finds everything: what a tenant's modes leave is decided when the suspects are rewritten. */
  readonly #strict = new Policy('mask', {}, Buffer.alloc(0))
  #salt: Buffer | undefined

  constructor(
    config: SanitizerConfig,
    context: Pick<Context, 'state' | 'vault' | 'pseudonyms' | 'log' | 'meter' | 'counts'>,
  ) {
    this.#config = config
    this.#context = context
    this.#keys = new SensitiveKeys(config.sensitive_keys, config.safe_keys)
    const words = [
      ...sensitiveWords(config.sensitive_keys),
      ...config.rules.flatMap((rule) => rule.keywords.map((word) => word.toLowerCase())),
    ]
    const detectors = createDetectors(this.#keys, customDetectors(config.rules), words)
    this.#scrubber = new Scrubber(detectors, this.#keys)
    const wouldChange = (text: string, key: string): boolean => this.#probe(text, key) !== undefined
    this.#finder = new SuspectFinder(detectors.features, this.#keys, wouldChange)
    this.#log = new RedactionLog(context.log, config.log_interval, (path) => this.#probe(path, '') ?? path)
    this.#counter = context.counts === false ? undefined : context.meter.counter('weir_redactions')
  }

  async start(): Promise<void> {
    this.#salt = await openSalt(this.#config.salt, this.#context)
    this.#context.pseudonyms?.use(this.#salt)
    this.#log.start()
  }

  stop(): Promise<void> {
    this.#log.stop()
    return Promise.resolve()
  }

  spares(tenant: string): boolean {
    return this.#policyOf(tenant).isIdle
  }

  /** Throws SANITIZER_FAILED (reject) for anything unforeseen: bytes that were not checked never go on. */
  process(batch: Batch): void {
    try {
      this.#process(batch)
    } catch (cause) {
      if (cause instanceof Fault) throw cause
      const name = cause instanceof Error ? cause.name : typeof cause
      // Without the cause: its message may quote what must not be told.
      throw reject(
        'SANITIZER_FAILED',
        `sanitizer: the batch could not be checked (${name}), so it is refused`,
      )
    }
  }

  #process(batch: Batch): void {
    const policy = this.#policyOf(batch.meta.tenant)
    if (batch.facts !== undefined) scrubFacts(batch.facts, (text) => this.#scrub(text, policy))
    const view = rawView(batch)
    const suspects = this.#finder.find(view)
    if (suspects.rows.length === 0 && !suspects.around) return
    const rows = new Set(suspects.rows.map((row) => view.rows?.[row] ?? row))
    if (suspects.around) addMarked(batch, suspects, rows)
    const editor = new Editor(batch, rows, policy, this.#scrubber, this.#keys)
    batch.rewriteTexts(editor)
    editor.finish()
    this.#record(batch.meta.tenant, editor.all)
  }

  #record(tenant: string, redactions: readonly Redaction[]): void {
    if (redactions.length === 0) return
    const byType = new Map<string, number>()
    for (const { type, count } of redactions) byType.set(type, (byType.get(type) ?? 0) + count)
    for (const [type, count] of byType) this.#counter?.add(count, { type })
    this.#log.add(tenant, redactions)
  }

  #policyOf(tenant: string): Policy {
    const known = this.#policies.get(tenant)
    if (known !== undefined) return known
    if (this.#salt === undefined) throw reject('START_FAILED', 'sanitizer: process was called before start')
    const own = this.#config.tenants[tenant]
    const rules: Record<string, Mode> = {}
    for (const rule of this.#config.rules) if (rule.mode !== undefined) rules[rule.name] = rule.mode
    const policy = new Policy(
      own?.mode ?? this.#config.mode,
      { ...rules, ...(own?.mode === undefined ? this.#config.detectors : {}), ...own?.detectors },
      tenantSalt(this.#salt, tenant),
    )
    if (this.#policies.size >= MOST_POLICIES) this.#policies.clear()
    this.#policies.set(tenant, policy)
    return policy
  }

  #probe(text: string, key: string): string | undefined {
    return this.#scrubber.scrub(text, key, { policy: this.#strict, counts: new Map(), isWhole: false })
  }

  #scrub(text: string, policy: Policy): string {
    return this.#scrubber.scrub(text, '', { policy, counts: new Map(), isWhole: false }) ?? text
  }
}

/** Adds the rows of resources that ask for redaction. */
function addMarked(batch: Batch, { hasUnlisted }: Suspects, rows: Set<number>): void {
  for (let row = 0; row < batch.rows; row++) {
    if (batch.isLive(row) && (hasUnlisted || hasResourceMark(batch, row))) rows.add(row)
  }
}
