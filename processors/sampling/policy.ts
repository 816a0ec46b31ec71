import { createHash } from 'node:crypto'
import { probabilityOf, RANDOM_RANGE, thresholdOf } from '../../pipeline/sampling/trace-state.ts'
import { Limiter } from './limiter.ts'
import { SEVERITIES, type AuditConfig, type LeafConfig, type PolicyConfig } from './policy-config.ts'
import {
  hasBoolean,
  hasFailed,
  hasNumber,
  hasState,
  hasStatus,
  hasString,
  isSlow,
  SpanTests,
  type SpanTest,
} from './span-tests.ts'
import type { Summary } from './summary.ts'
import { ALWAYS, both, either, inverse, NEVER, type Verdict } from './verdict.ts'

/** Judges a trace at a WAL time (Unix ms) that never goes back. */
export interface Judge {
  (summary: Summary, nowMs: number): Verdict
  /** It counts what it lets through, so that it must not be asked in vain. */
  readonly counts?: boolean
}

export interface Policy {
  readonly name: string
  readonly judge: Judge
  /** It leaves out what it would keep, and wins over those that keep. */
  readonly drops: boolean
  /** What it keeps is kept whatever others drop. */
  readonly wins?: boolean
}

/** What policies need of spans and keep between traces. */
export class Workshop {
  readonly tests = new SpanTests()
  readonly limiters: Limiter[] = []
  /** Some policy looks at cost or tokens. */
  needsFacts = false
  readonly #precision: number

  constructor(precision: number) {
    this.#precision = precision
  }

  policy(config: PolicyConfig): Policy {
    const { name, type } = config
    if (type === 'drop') {
      const parts = (config.drop?.drop_sub_policy ?? []).map((part) => this.#judge(part))
      return { name, drops: true, judge: all(parts) }
    }
    if (type === 'composite') return { name, drops: false, judge: this.#composite(config) }
    return { name, drops: false, judge: this.#judge({ ...config, type }) }
  }

  /** Everything of what must not be lost, and a share of the rest. */
  audit(config: AuditConfig): readonly Policy[] {
    const { slow_ms: slowMs, operations } = config
    return [
      { name: 'audit_debug', drops: false, judge: () => (config.debug ? ALWAYS : NEVER) },
      { name: 'audit_failed', drops: false, judge: this.#any('failed', () => hasFailed) },
      {
        name: 'audit_slow',
        drops: false,
        judge: this.#any({ slowMs, operations }, () => isSlow(slowMs, operations)),
      },
      { name: 'audit_share', drops: false, judge: this.#probabilistic(config.trace_percentage, '') },
    ]
  }

  #judge(config: SubConfig): Judge {
    if (config.type === 'and') return all((config.and?.and_sub_policy ?? []).map((part) => this.#judge(part)))
    if (config.type === 'not') {
      const sub = config.not?.not_sub_policy
      const judge = sub === undefined ? () => NEVER : this.#judge(sub)
      return (summary, nowMs) => inverse(judge(summary, nowMs))
    }
    return this.#leaf({ ...config, type: config.type })
  }

  #leaf(config: LeafConfig): Judge {
    switch (config.type) {
      case 'always_sample':
        return () => ALWAYS
      case 'status_code':
      case 'string_attribute':
      case 'numeric_attribute':
      case 'boolean_attribute':
      case 'trace_state':
      case 'span_latency':
        return this.#spanPolicy(config)
      case 'probabilistic':
      case 'rate_limiting':
      case 'bytes_limiting':
        return this.#share(config)
      case 'latency':
      case 'span_count':
      case 'cost':
      case 'tokens':
      case 'violation':
      default:
        return this.#traceFact(config)
    }
  }

  #spanPolicy(config: LeafConfig): Judge {
    const { status_code: status, string_attribute: text, numeric_attribute: number } = config
    const { boolean_attribute: boolean, trace_state: state, span_latency: slow } = config
    if (status !== undefined) return this.#any({ status }, () => hasStatus(status.status_codes))
    if (text !== undefined) return this.#any({ text }, () => hasString(text), text.invert_match)
    if (number !== undefined) return this.#any({ number }, () => hasNumber(number), number.invert_match)
    if (boolean !== undefined) return this.#any({ boolean }, () => hasBoolean(boolean), boolean.invert_match)
    if (state !== undefined) return this.#any({ state }, () => hasState(state))
    if (slow === undefined) return () => NEVER
    return this.#any({ slow }, () => isSlow(slow.threshold_ms, slow.operations))
  }

  #any(what: unknown, make: () => SpanTest, invert = false): Judge {
    const mask = this.tests.add(what, make)
    return ({ bits }) => sure(((bits & mask) !== 0) !== invert)
  }

  #traceFact({ latency, span_count: count, cost, tokens, violation }: LeafConfig): Judge {
    if (latency !== undefined) {
      const { threshold_ms: least, upper_threshold_ms: most } = latency
      return ({ startMs, endMs }) => {
        const ms = Math.floor(endMs - startMs)
        return sure(most === 0 ? ms >= least : ms > least && ms <= most)
      }
    }
    if (count !== undefined) {
      const { min_spans: least, max_spans: most } = count
      return ({ spans }) => sure(spans >= least && (most === 0 || spans <= most))
    }
    if (violation !== undefined) {
      const least = SEVERITIES.indexOf(violation.min_severity)
      return ({ severity }) => sure(severity >= least)
    }
    this.needsFacts = true
    if (cost !== undefined) {
      const least = cost.min_usd * 1e12
      return ({ picoUsd }) => sure(picoUsd >= least)
    }
    const least = tokens?.min_tokens ?? Infinity
    return (summary) => sure(summary.tokens >= least)
  }

  #share({ probabilistic, rate_limiting: spans, bytes_limiting: bytes }: LeafConfig): Judge {
    if (probabilistic !== undefined) {
      return this.#probabilistic(probabilistic.sampling_percentage, probabilistic.hash_salt)
    }
    if (spans !== undefined) {
      const limiter = this.#limiter(spans.spans_per_second, spans.burst_capacity)
      return counting((summary, nowMs) => sure(limiter.take(summary.spans, nowMs)))
    }
    const limiter = this.#limiter(bytes?.bytes_per_second ?? 0, bytes?.burst_capacity)
    return counting((summary, nowMs) => sure(limiter.take(summary.bytes, nowMs)))
  }

  #limiter(perSecond: number, capacity = 2 * perSecond): Limiter {
    const limiter = new Limiter(perSecond, capacity)
    this.limiters.push(limiter)
    return limiter
  }

  #probabilistic(percentage: number, salt: string): Judge {
    if (percentage === 0) return () => NEVER
    const threshold = thresholdOf(percentage / 100, this.#precision)
    const chance = probabilityOf(threshold)
    return (summary) => ({
      kept: randomnessFor(summary, salt) >= threshold,
      // Who came here has passed a threshold of the same randomness already.
      chance: salt === '' ? Math.min(1, chance / summary.before) : chance,
      source: salt === '' ? '' : `salt ${salt}`,
    })
  }

  #composite({ composite }: PolicyConfig): Judge {
    if (composite === undefined) return () => NEVER
    const { max_total_spans_per_second: total, policy_order: order, rate_allocation: shares } = composite
    const named = new Map(shares.map(({ policy, percent }) => [policy, percent]))
    const left = Math.max(0, 100 - shares.reduce((sum, { percent }) => sum + percent, 0))
    const unnamed = order.filter((name) => !named.has(name)).length
    const parts = order.flatMap((name) => {
      const part = composite.composite_sub_policy.find((one) => one.name === name)
      if (part === undefined) return []
      const rate = (total * (named.get(name) ?? left / unnamed)) / 100
      // A second's worth, as the collector counts by the second.
      return [{ judge: this.#judge(part), limiter: this.#limiter(rate, rate) }]
    })
    return (summary, nowMs) => {
      for (const { judge, limiter } of parts) {
        const verdict = judge(summary, nowMs)
        if (verdict.kept) return limiter.take(summary.spans, nowMs) ? verdict : NEVER
      }
      return NEVER
    }
  }
}

type SubConfig = Omit<PolicyConfig, 'type' | 'drop' | 'composite'> & {
  readonly type: LeafConfig['type'] | 'and' | 'not'
}

function sure(kept: boolean): Verdict {
  return kept ? ALWAYS : NEVER
}

function counting(judge: Judge): Judge {
  return Object.assign(judge, { counts: true })
}

function all(parts: readonly Judge[]): Judge {
  const judge: Judge = (summary, nowMs) => {
    let verdict = ALWAYS
    for (const part of parts) {
      if (!verdict.kept && part.counts === true) continue
      verdict = both(verdict, part(summary, nowMs))
    }
    return verdict
  }
  return parts.some(({ counts }) => counts) ? counting(judge) : judge
}

function randomnessFor({ randomness, key }: Summary, salt: string): number {
  if (salt === '') return randomness
  const hash = createHash('sha256').update(salt).update(key, 'utf16le').digest()
  return Math.floor((hash.readUIntBE(0, 6) * 256 + hash.readUInt8(6)) / 16) % RANDOM_RANGE
}

export interface Judgement {
  readonly kept: boolean
  /** Of being kept, for a trace like this one; 1: certain. 0 when dropped. */
  readonly chance: number
  /** The chance is the trace id's own, so that the tracestate may say it. */
  readonly isConsistent: boolean
  /** What each policy said, in order. */
  readonly votes: readonly boolean[]
  readonly dropped: boolean
}

/** Asks every policy: what is dropped is dropped, what one of the others keeps is kept. */
export function judge(policies: readonly Policy[], summary: Summary, nowMs: number): Judgement {
  let verdict = NEVER
  let exempt = ALWAYS
  let dropped = false
  let certain = false
  const votes = policies.map(({ judge: ask, drops, wins }) => {
    const said = ask(summary, nowMs)
    certain ||= wins === true && said.kept
    if (!drops) verdict = either(verdict, said)
    else {
      exempt = both(exempt, inverse(said))
      dropped ||= said.kept
    }
    return said.kept
  })
  const { kept, chance, source } = certain ? ALWAYS : both(verdict, exempt)
  return { kept, chance, isConsistent: source === '', votes, dropped: dropped && !certain }
}
