import type { TraceKey } from './trace-key.ts'

/**
 * What is kept of a trace until it is judged: never spans. Times are WAL time, Unix ms, unless they say otherwise.
 */
export class Summary {
  readonly key: TraceKey
  /** Message of the first span. */
  readonly firstSeq: number
  readonly firstMs: number
  /** Traces in the order of their first spans. */
  readonly order: number
  /** Upper 52 bits of the trace's randomness. */
  readonly randomness: number
  /** Chance that samplers before gave the trace, by the same randomness. */
  readonly before: number
  spans = 0
  bytes = 0
  /** First start and last end that spans state, Unix ms with fractions. */
  startMs = Infinity
  endMs = -Infinity
  picoUsd = 0
  tokens = 0
  /** Index into SEVERITIES of the gravest violation; −1: none. */
  severity = -1
  /** One bit per span test of the policies that some span has passed. */
  bits = 0
  /** A run's event was seen. */
  isRun = false
  /** When the run's end was seen; −1: not yet. */
  endedMs = -1
  isJudged = false

  constructor(
    key: TraceKey,
    firstSeq: number,
    firstMs: number,
    order: number,
    { randomness, before: earlier }: { readonly randomness: number; readonly before: number },
  ) {
    this.key = key
    this.firstSeq = firstSeq
    this.firstMs = firstMs
    this.order = order
    this.randomness = randomness
    this.before = earlier
  }
}

/** What one takes, its places in map and heap included: measured with 16-span traces, rounded up. */
export const SUMMARY_BYTES = 512

interface Due {
  readonly summary: Summary
  readonly dueMs: number
}

const FIRST_ROOM = 1024

/**
 * Traces by the time when they are to be judged; equal times in the order of first spans. A binary heap. Traces that
 * were judged before their time leave when it has grown to twice what it was.
 */
export class Agenda {
  #heap: Due[] = []
  #room = FIRST_ROOM

  get size(): number {
    return this.#heap.length
  }

  add(summary: Summary, dueMs: number): void {
    if (this.#heap.length >= this.#room) this.#tidy()
    const heap = this.#heap
    let at = heap.push({ summary, dueMs }) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!before(heap[at]!, heap[parent]!)) return
      swap(heap, at, parent)
      at = parent
    }
  }

  /** Takes out the first trace that is due before `nowMs`, and says when it was. */
  next(nowMs: number): Due | undefined {
    const heap = this.#heap
    const [first] = heap
    if (first === undefined || first.dueMs >= nowMs) return undefined
    const last = heap.pop()!
    if (heap.length > 0) {
      heap[0] = last
      this.#sink()
    }
    return first
  }

  /** What is sorted is a heap. */
  #tidy(): void {
    const open = this.#heap.filter(({ summary }) => !summary.isJudged)
    this.#heap = open.sort((a, b) => (before(a, b) ? -1 : 1))
    this.#room = Math.max(FIRST_ROOM, 2 * open.length)
  }

  #sink(): void {
    const heap = this.#heap
    for (let at = 0; ;) {
      let least = at
      for (const child of [2 * at + 1, 2 * at + 2]) {
        if (child < heap.length && before(heap[child]!, heap[least]!)) least = child
      }
      if (least === at) return
      swap(heap, at, least)
      at = least
    }
  }
}

function before(a: Due, b: Due): boolean {
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.summary.order < b.summary.order)
}

function swap(heap: Due[], a: number, b: number): void {
  const kept = heap[a]!
  heap[a] = heap[b]!
  heap[b] = kept
}
