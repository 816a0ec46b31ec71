import { writeRequest, type Attributes, type SpanFields } from '../../proto/otlp/write.ts'
import type { Entry, Standing } from '../admission.ts'
import { ATTR, type AttrRef, type Batch } from '../batch/batch.ts'
import { decodeBatch } from '../batch/otlp-batch.ts'
import type { RunLabels } from './spans.ts'

/** What the texts stand under in spans: names take part in the judgement. */
const LABELS = {
  agentId: 'gen_ai.agent.id',
  agentName: 'gen_ai.agent.name',
  agentVersion: 'gen_ai.agent.version',
  sessionId: 'session.id',
  userId: 'user.id',
} as const satisfies Record<keyof RunLabels, string>

/** Actions that were looked at: tools are few. */
const MOST_KNOWN = 4096

/**
 * What state keeps of runs besides spans, as the pipeline's processors would let it rest: state is a store too. Rejects
 * with the Fault of a processor that cannot check it.
 */
export class Redactor {
  readonly #next: Pick<Entry, 'redact'>
  readonly #clock: () => number
  #known = new Map<string, string>()
  /** By whom `#known` was made: a reload brings another. */
  #maker: Entry['redact']

  constructor(next: Pick<Entry, 'redact'>, clock: () => number) {
    this.#next = next
    this.#clock = clock
  }

  /** Those that are removed are left out. */
  async attributes(sender: Standing, attributes: Attributes): Promise<Attributes> {
    const { redact } = this.#next
    if (redact === undefined || attributes.length === 0) return attributes
    const spans: SpanFields[] = [{ ...SPAN, attributes }]
    const batch = decodeBatch(writeRequest([{ resource: [], scope: SCOPE, spans }]), {
      signal: 'traces',
      tenant: sender.tenant,
      project: sender.project,
      principal: sender.principal,
      source: 'state',
      receivedAtMs: this.#clock(),
      digest: new Uint8Array(16),
    })
    const before = textsOf(batch)
    await redact(batch)
    const after = textsOf(batch)
    return attributes.flatMap(([key, value]) => {
      const text = after.get(key)
      if (text === undefined) return []
      return [[key, text === before.get(key) ? value : text] as const]
    })
  }

  async labels(sender: Standing, labels: RunLabels): Promise<RunLabels> {
    if (this.#next.redact === undefined) return labels
    const names = (Object.keys(LABELS) as (keyof RunLabels)[]).filter((name) => labels[name] !== undefined)
    const given = names.map((name) => [LABELS[name], labels[name] ?? ''] as const)
    const kept = new Map(await this.attributes(sender, given))
    return Object.fromEntries(names.map((name) => [name, kept.get(LABELS[name])]))
  }

  /** The name of an action, from a store of those that were looked at. */
  async action(sender: Standing, action: string): Promise<string> {
    const { redact } = this.#next
    if (redact === undefined) return action
    if (this.#maker !== redact || this.#known.size >= MOST_KNOWN) this.#known = new Map()
    this.#maker = redact
    const id = `${sender.tenant}\0${action}`
    const known = this.#known.get(id) ?? (await this.text(sender, 'toon.action', action))
    this.#known.set(id, known)
    return known
  }

  async text(sender: Standing, key: string, text: string): Promise<string> {
    const kept = await this.attributes(sender, [[key, text]])
    return String(kept[0]?.[1] ?? '')
  }
}

/** Of the only span; without what was removed. */
function textsOf(batch: Batch): ReadonlyMap<string, string> {
  const texts = new Map<string, string>()
  const { first, end } = batch.attrs(0, 'span')
  for (let at = first; at < end; at++) {
    const ref = at as AttrRef
    if (batch.type(ref) !== ATTR.empty) texts.set(batch.key(ref), batch.text(ref))
  }
  return texts
}

const SCOPE = { name: 'weir.toon', version: '1' }
const SPAN: Omit<SpanFields, 'attributes'> = {
  traceId: new Uint8Array(16).fill(1),
  spanId: new Uint8Array(8).fill(1),
  name: 'state',
  kind: 1,
  startNs: 0n,
  endNs: 0n,
  statusCode: 0,
}
