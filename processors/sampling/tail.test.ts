import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { batchOf, SamplingRig, type TestMessage, type TestSpan } from '../../test/support/sampling-rig.ts'
import { BLOCK } from './decision.ts'

const WAIT = { decision_wait: '10s', keep_violations: 'NONE', run_wait: 0 }
const only = (policy: object) => ({ ...WAIT, policies: [{ name: 'p', ...policy }] })
const message = (seq: number, atMs: number, ...spans: TestSpan[]): TestMessage => ({ seq, atMs, spans })

/** The traces that a policy keeps of messages, once everything is due. */
async function keptBy(settings: object, messages: readonly TestMessage[]): Promise<(number | string)[]> {
  const rig = await SamplingRig.open(settings)
  const scout = await rig.scout()
  for (const each of messages) await scout.read(each)
  await scout.quiet(messages.at(-1)?.seq ?? 0, 1e12)
  return [...(await rig.kept(messages)).keys()]
}

const one = (...spans: TestSpan[]): TestMessage[] => [message(1, 0, ...spans)]

describe('a policy keeps', () => {
  const traces = one(
    { trace: 1, failed: true, attributes: [['n', 5]] },
    { trace: 2, ms: 400, startMs: 1000, attributes: [['s', 'abc']] },
    { trace: 2, ms: 400, startMs: 1600 },
    {
      trace: 3,
      attributes: [
        ['b', true],
        ['gen_ai.operation.name', 'chat'],
        ['gen_ai.usage.input_tokens', 500],
      ],
      ms: 900,
    },
    {
      trace: 4,
      attributes: [
        ['s', 'xyz'],
        ['n', 7.5],
      ],
    },
  )
  it.each([
    ['always_sample', { type: 'always_sample' }, [1, 2, 3, 4]],
    ['a status', { type: 'status_code', status_code: { status_codes: ['ERROR'] } }, [1]],
    ['by the time of the trace', { type: 'latency', latency: { threshold_ms: 1000 } }, [2]],
    [
      'within bounds of time',
      { type: 'latency', latency: { threshold_ms: 500, upper_threshold_ms: 900 } },
      [3],
    ],
    ['by the time of a span', { type: 'span_latency', span_latency: { threshold_ms: 399 } }, [2, 3]],
    [
      'by its operation',
      { type: 'span_latency', span_latency: { threshold_ms: 399, operations: { chat: 1000 } } },
      [2],
    ],
    ['an exact string', { type: 'string_attribute', string_attribute: { key: 's', values: ['abc'] } }, [2]],
    [
      'an expression',
      {
        type: 'string_attribute',
        string_attribute: { key: 's', values: ['^.y'], enabled_regex_matching: true },
      },
      [4],
    ],
    [
      'what lacks it',
      { type: 'string_attribute', string_attribute: { key: 's', values: ['abc'], invert_match: true } },
      [1, 3, 4],
    ],
    [
      'a resource’s string',
      { type: 'string_attribute', string_attribute: { key: 'service.name', values: ['agent'] } },
      [1, 2, 3, 4],
    ],
    [
      'a number',
      { type: 'numeric_attribute', numeric_attribute: { key: 'n', min_value: 5, max_value: 6 } },
      [1],
    ],
    ['a number from', { type: 'numeric_attribute', numeric_attribute: { key: 'n', min_value: 5.5 } }, [4]],
    ['a boolean', { type: 'boolean_attribute', boolean_attribute: { key: 'b', value: true } }, [3]],
    ['a number of spans', { type: 'span_count', span_count: { min_spans: 2 } }, [2]],
    ['tokens', { type: 'tokens', tokens: { min_tokens: 500 } }, [3]],
    [
      'not',
      {
        type: 'not',
        not: { not_sub_policy: { name: 'x', type: 'span_count', span_count: { min_spans: 2 } } },
      },
      [1, 3, 4],
    ],
    [
      'and',
      {
        type: 'and',
        and: {
          and_sub_policy: [
            { name: 'x', type: 'span_latency', span_latency: { threshold_ms: 399 } },
            { name: 'y', type: 'boolean_attribute', boolean_attribute: { key: 'b', value: true } },
          ],
        },
      },
      [3],
    ],
    [
      'no more spans than a rate',
      { type: 'rate_limiting', rate_limiting: { spans_per_second: 1, burst_capacity: 3 } },
      [1, 2],
    ],
  ])('%s', async (_, policy, expected) => {
    expect(await keptBy(only(policy), traces)).toEqual(expected)
  })

  it('what a drop does not exclude, and a composite within its rates', async () => {
    const drop = {
      name: 'd',
      type: 'drop',
      drop: {
        drop_sub_policy: [{ name: 'x', type: 'status_code', status_code: { status_codes: ['ERROR'] } }],
      },
    }
    const settings = { ...WAIT, policies: [{ name: 'a', type: 'always_sample' }, drop] }
    expect(await keptBy(settings, traces)).toEqual([2, 3, 4])
    const composite = {
      type: 'composite',
      composite: {
        max_total_spans_per_second: 4,
        policy_order: ['slow', 'rest'],
        composite_sub_policy: [
          { name: 'rest', type: 'always_sample' },
          { name: 'slow', type: 'span_latency', span_latency: { threshold_ms: 399 } },
        ],
        rate_allocation: [{ policy: 'slow', percent: 50 }],
      },
    }
    // slow: two spans a second, so trace 2 and not 3; rest: the other two.
    expect(await keptBy(only(composite), traces)).toEqual([1, 2, 4])
  })

  it('traces of its own tenant: equal ids of two are two traces', async () => {
    const rig = await SamplingRig.open(
      only({ type: 'status_code', status_code: { status_codes: ['ERROR'] } }),
    )
    const scout = await rig.scout()
    const [bad, good] = [
      message(1, 0, { trace: 1, failed: true, tenant: 'a' }),
      message(2, 0, { trace: 1, tenant: 'b' }),
    ]
    for (const each of [bad, good]) await scout.read(each)
    await scout.quiet(2, 1e12)
    expect([(await rig.kept([bad])).size, (await rig.kept([good])).size]).toEqual([1, 0])
  })
})

describe('a decision', () => {
  const failed = only({ type: 'status_code', status_code: { status_codes: ['ERROR'] } })

  it('uses what came up to the wait, and late spans follow it', async () => {
    const messages = [
      message(1, 1000, { trace: 1 }, { trace: 2 }, { trace: 3, failed: true }),
      message(2, 11_000, { trace: 1, failed: true }),
      message(3, 11_001, { trace: 2, failed: true }),
      message(4, 50_000, { trace: 3 }),
    ]
    expect(await keptBy(failed, messages)).toEqual([1, 3])
    const rig = await SamplingRig.open(failed)
    const scout = await rig.scout()
    for (const each of messages) await scout.read(each)
    await scout.quiet(4, 1e12)
    expect([...(await rig.kept(messages.slice(2))).keys()]).toEqual([3])
  })

  it('is waited for, also when nothing comes', async () => {
    const rig = await SamplingRig.open(failed)
    const scout = await rig.scout()
    const first = message(1, 1000, { trace: 1, failed: true })
    await scout.read(first)
    await scout.quiet(1, 11_000)
    let kept: Map<number | string, number> | undefined
    const waiting = rig.kept([first]).then((found) => (kept = found))
    await scout.quiet(1, 11_000)
    expect(kept).toBeUndefined()
    await scout.quiet(1, 11_001)
    await waiting
    expect([...kept!.keys()]).toEqual([1])
  })

  it('comes out alike after a crash at any place, limits included', async () => {
    const settings = {
      ...WAIT,
      decision_wait: '1s',
      policies: [
        { name: 'rate', type: 'rate_limiting', rate_limiting: { spans_per_second: 2 } },
        { name: 'failed', type: 'status_code', status_code: { status_codes: ['ERROR'] } },
      ],
    }
    const aSpan = fc.record({ trace: fc.integer({ min: 1, max: 60 }), failed: fc.boolean() })
    const aLog = fc.array(
      fc.record({
        gap: fc.integer({ min: 0, max: 500 }),
        spans: fc.array(aSpan, { minLength: 1, maxLength: 4 }),
      }),
      { minLength: 5, maxLength: 30 },
    )
    await fc.assert(
      fc.asyncProperty(aLog, fc.array(fc.nat(29), { maxLength: 3 }), async (log, crashes) => {
        let atMs = 0
        const messages = log.map(({ gap, spans }, index) => message(index + 1, (atMs += gap), ...spans))
        const straight = await decisions(settings, messages, [])
        expect(await decisions(settings, messages, crashes)).toEqual(straight)
      }),
      { numRuns: 25 },
    )
  })

  it('counts once what was written and not saved', async () => {
    const rig = await SamplingRig.open(failed)
    const messages = [
      message(1, 1000, { trace: 1, failed: true }),
      message(2, 20_000, { trace: 2 }),
      message(3, 21_000, { trace: 3, failed: true }),
    ]
    const first = await rig.scout()
    await first.read(messages[0]!)
    await first.quiet(1, 15_000)
    const dying = await rig.scout({ diesOnSave: true })
    for (const each of messages.slice(1)) await dying.read(each).catch(() => undefined)
    await expect(dying.quiet(3, 1e12)).rejects.toThrow('dead')
    const scout = await rig.scout()
    for (const each of messages.slice(1)) await scout.read(each)
    await scout.quiet(3, 1e12)
    expect(await rig.decided()).toBe(3)
    expect([...(await rig.kept(messages)).keys()]).toEqual([1, 3])
  })

  it('falls early when there is no room, by what was seen', async () => {
    const rig = await SamplingRig.open({ ...failed, num_traces: 2 })
    const scout = await rig.scout()
    const messages = [
      message(1, 0, { trace: 1, failed: true }),
      message(2, 0, { trace: 2 }),
      message(3, 0, { trace: 3 }),
      message(4, 1, { trace: 2, failed: true }),
    ]
    for (const each of messages) await scout.read(each)
    await scout.quiet(4, 1e12)
    expect([...(await rig.kept(messages)).keys()]).toEqual([1, 2])
    expect(await rig.meter.render()).toContain('sampling_trace_dropped_too_early{processor="sampling"} 1')
  })
})

/** What each message keeps, when the scout crashes after these messages. */
async function decisions(settings: object, messages: readonly TestMessage[], crashes: readonly number[]) {
  const rig = await SamplingRig.open(settings)
  let scout = await rig.scout()
  for (let at = 0; at < messages.length; at++) {
    await scout.read(messages[at]!)
    if (at % 3 === 0) await scout.quiet(messages[at]!.seq, messages[at]!.atMs)
    if (!crashes.includes(at)) continue
    scout = await rig.scout()
    for (const again of messages.slice(scout.from - 1, at + 1)) await scout.read(again)
  }
  await scout.quiet(messages.length, 1e12)
  return [...(await rig.kept(messages)).keys()]
}

describe('runs and violations', () => {
  const settings = {
    decision_wait: '10s',
    run_wait: '60s',
    verdict_wait: '5s',
    policies: [{ name: 'none', type: 'span_count', span_count: { min_spans: 99 } }],
  }
  const event = (trace: number): TestSpan => ({ trace, attributes: [['toon.seq', 1]] })
  const end = (trace: number): TestSpan => ({ trace, attributes: [['agent.run.status', 'completed']] })
  const verdict = (trace: number): TestSpan => ({
    trace,
    name: 'validate sequence',
    attributes: [['weir.violation.severity', 'WARNING']],
  })

  it('waits for the end of a run and its verdict, and no longer than it may', async () => {
    const messages = [
      message(1, 0, event(1), event(2), { trace: 3 }),
      message(2, 40_000, end(1), { trace: 4, attributes: [['weir.violations', 1]] }),
      message(3, 44_000, verdict(1)),
      message(4, 61_000, end(2)),
      message(5, 62_000, verdict(2)),
    ]
    const rig = await SamplingRig.open(settings)
    const scout = await rig.scout()
    for (const each of messages) await scout.read(each)
    await scout.quiet(5, 1e12)
    const cursor = await rig.kept(messages)
    // Run 2 was left out at 60 s; its verdict is stored all the same.
    expect(new Set(cursor.keys())).toEqual(new Set([1, 2, 4]))
    expect([...(await rig.kept(messages.slice(0, 2))).keys()]).toEqual([1, 4])
    expect(await rig.meter.render()).toContain('late_violations{processor="sampling"} 1')
  })

  it('takes a span for a verdict by what validators write on it, not by its name', async () => {
    const own: TestSpan = { trace: 1, name: 'validate cart' }
    expect(await keptBy(settings, one(own, verdict(2)))).toEqual([2])
  })

  it('keeps a violation against a drop', async () => {
    const drop = {
      name: 'd',
      type: 'drop',
      drop: { drop_sub_policy: [{ name: 'x', type: 'always_sample' }] },
    }
    const found = one({ trace: 1 }, verdict(2))
    expect(await keptBy({ ...settings, policies: [drop] }, found)).toEqual([2])
    const rig = await SamplingRig.open({ ...settings, policies: [drop] })
    const scout = await rig.scout()
    await scout.read(message(1, 0, { trace: 2 }, { trace: 2, attributes: [['weir.violations', 1]] }))
    await scout.quiet(1, 1e12)
    expect([...(await rig.kept([message(1, 0, { trace: 2 })])).keys()]).toEqual([2])
  })

  it('keeps by severity', async () => {
    const found = one(verdict(1), { trace: 2, attributes: [['weir.violation.severity', 'CRITICAL']] })
    expect(await keptBy({ ...settings, keep_violations: 'ERROR' }, found)).toEqual([1, 2])
    expect([
      ...(
        await (async () => {
          const rig = await SamplingRig.open({ ...settings, keep_violations: 'ERROR', run_wait: 0 })
          const scout = await rig.scout()
          await scout.read(message(1, 0, { trace: 5, attributes: [['weir.violation.severity', 'INFO']] }))
          await scout.quiet(1, 1e12)
          return rig.kept([message(1, 0, { trace: 5 })])
        })()
      ).keys(),
    ]).toEqual([])
  })
})

describe('weights', () => {
  const many = Array.from({ length: 60 }, (_, at) =>
    message(at + 1, at, ...Array.from({ length: 100 }, (_, n) => ({ trace: at * 100 + n }))),
  )

  it('of a share add up to all, and are consistent with what the tracestate says', async () => {
    const rig = await SamplingRig.open(
      only({ type: 'probabilistic', probabilistic: { sampling_percentage: 25 } }),
    )
    const scout = await rig.scout()
    for (const each of many) await scout.read(each)
    await scout.quiet(many.length, 1e12)
    const kept = await rig.kept(many)
    expect(new Set(kept.values())).toEqual(new Set([4]))
    expect(Math.abs(kept.size * 4 - 6000)).toBeLessThan(5 * Math.sqrt(6000 * 3))
  })

  it('add up where head sampling came before it, though both use the randomness of the trace', async () => {
    const rig = await SamplingRig.open({ ...WAIT, sampling_percentage: 50, audit: {} })
    const scout = await rig.scout()
    for (const each of many) await scout.read(each)
    await scout.quiet(many.length, 1e12)
    const kept = await rig.kept(many)
    const sum = [...kept.values()].reduce((total, weight) => total + weight, 0)
    expect(Math.abs(sum - 6000)).toBeLessThan(800)
    const shares = await SamplingRig.open({
      ...only({ type: 'probabilistic', probabilistic: { sampling_percentage: 25 } }),
      sampling_percentage: 50,
    })
    const other = await shares.scout()
    for (const each of many) await other.read(each)
    await other.quiet(many.length, 1e12)
    expect(new Set((await shares.kept(many)).values())).toEqual(new Set([4]))
  })

  it('of the audit preset too: whole traces, single spans of others, and everything that failed', async () => {
    const settings = { ...WAIT, audit: {} }
    const rig = await SamplingRig.open(settings)
    const scout = await rig.scout()
    const failing = message(
      61,
      61,
      { trace: 'bad', failed: true },
      { trace: 'bad' },
      { trace: 'slow', ms: 1501 },
      { trace: 'late', attributes: [['error.type', 'timeout']] },
    )
    for (const each of [...many, failing]) await scout.read(each)
    await scout.quiet(61, 1e12)
    const kept = await rig.kept(many)
    const share = 0.2 + 0.8 * 0.1
    for (const weight of kept.values()) expect(weight).toBeCloseTo(1 / share, 3)
    expect(Math.abs(kept.size / 6000 - share)).toBeLessThan(0.03)
    expect(await rig.kept([failing])).toEqual(
      new Map([
        ['bad', 1],
        ['slow', 1],
        ['late', 1],
      ]),
    )
    expect(await keptBy({ ...WAIT, audit: { debug: true } }, one({ trace: 1 }, { trace: 2 }))).toEqual([1, 2])
  })
})

describe('memory of decisions', () => {
  it('is the same for a cursor that began here as for one that came from far', async () => {
    // The least that may be remembered: four blocks.
    const settings = {
      ...only({ type: 'span_count', span_count: { min_spans: 2 } }),
      decision_cache: { max_bytes: 1 },
    }
    const rig = await SamplingRig.open(settings)
    const scout = await rig.scout()
    const log: TestMessage[] = []
    // Five blocks are decided between the reading of a message and the decisions on it.
    for (let seq = 1; seq <= 30; seq++) {
      const spans = Array.from({ length: BLOCK / 2 }, (_, n) => ({ trace: `${seq}.${n}` }))
      log.push(message(seq, seq * 1000, ...spans, { trace: 'old' }))
      await scout.read(log.at(-1)!)
    }
    await scout.quiet(30, 1e12)
    const far = await rig.cursor()
    for (const each of log) {
      const [mine, theirs] = [batchOf(each), batchOf(each)]
      await far.process(mine)
      await (await rig.cursor()).process(theirs)
      const live = (batch: typeof mine) =>
        each.spans.filter((_, row) => batch.isLive(row)).map(({ trace }) => trace)
      expect(live(mine), `message ${each.seq}`).toEqual(live(theirs))
    }
    // As after its lease was lost and came back: what was frozen is asked for again.
    for (const each of log.toReversed()) {
      const [mine, theirs] = [batchOf(each), batchOf(each)]
      await far.process(mine)
      await (await rig.cursor()).process(theirs)
      expect(mine.live, `message ${each.seq} again`).toBe(theirs.live)
    }
  })
})
