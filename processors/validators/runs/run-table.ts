import type { RunEndStatus } from '../validator.ts'

/** What is kept of a trace that may still be judged: where its messages are, never its spans. */
export interface TracedRun {
  readonly tenant: string
  /** 32 hex digits. */
  readonly trace: string
  /** Of the messages that hold spans of it, ascending; none for one that is too large. */
  seqs: number[]
  /** WAL time of its first span, Unix ms. */
  readonly firstMs: number
  spans: number
  /** Some span is of an agent or has a run id: else it is no run. */
  isRun: boolean
  /** Something of it came through the pipeline that judges. */
  isOurs: boolean
  /** WAL time of the newest span, Unix ms. */
  lastMs: number
  /** Set when its root span came: how it ended. */
  ended: RunEndStatus | undefined
  /** Its sender has said that it is finished, so that nothing more is to come. */
  isFinished: boolean
  /** It has too many messages, or goes on for too long, to be judged. */
  isTooLarge: boolean
  state: 'open' | 'rooted' | 'finished' | 'judged'
}

export interface TableTimes {
  /** From the finish of a run, or from what came after it, to the judgement. */
  readonly endWaitMs: number
  /** The same for a trace whose root span came: other programs may still send theirs. */
  readonly rootWaitMs: number
  /** From the newest span to the judgement of a trace whose root span did not come. */
  readonly idleMs: number
}

const MOST_MESSAGES = 10_000
/** What goes on for longer would keep the log from being trimmed. */
const LONGEST_MS = 24 * 3_600_000
/** About what an entry takes beside its sequences. */
const ENTRY_BYTES = 400
const MOST_BYTES = 64 * 1024 * 1024

/**
 * The traces that are under way in the log, by their first message. Times are the log's. A judged one stays for another
 * idle time, so that spans that come late are judged with the rest of their trace.
 */
export class RunTable {
  readonly #times: TableTimes
  /** In order of their first messages. */
  readonly #runs = new Map<string, TracedRun>()
  /** Each in order of `lastMs`. */
  readonly #queues = {
    open: new Set<TracedRun>(),
    rooted: new Set<TracedRun>(),
    finished: new Set<TracedRun>(),
    judged: new Set<TracedRun>(),
  } as const
  #bytes = 0

  constructor(times: TableTimes) {
    this.#times = times
  }

  get size(): number {
    return this.#runs.size
  }

  /** The first message that a judgement may need; undefined: none. */
  get firstSeq(): number | undefined {
    for (const { seqs } of this.#runs.values()) if (seqs[0] !== undefined) return seqs[0]
    return undefined
  }

  clear(): void {
    this.#runs.clear()
    for (const queue of Object.values(this.#queues)) queue.clear()
    this.#bytes = 0
  }

  /** Notes spans of a trace in message `seq`. */
  saw(tenant: string, trace: string, seq: number, walMs: number): TracedRun {
    const run = this.#runs.get(`${tenant}\0${trace}`) ?? this.#add(tenant, trace, walMs)
    this.#note(run, seq)
    run.lastMs = walMs
    this.#move(run, waiting(run))
    return run
  }

  /** Its root span came. */
  end(run: TracedRun, status: RunEndStatus, isFinished: boolean): void {
    run.ended = status
    run.isFinished ||= isFinished
    this.#move(run, waiting(run))
  }

  /** Notes a message with verdicts, which do not prolong a trace. */
  sawVerdicts(tenant: string, trace: string, seq: number): void {
    const run = this.#runs.get(`${tenant}\0${trace}`)
    if (run !== undefined) this.#note(run, seq)
  }

  /** Keeps a run for what may come late, and lets go of what was none. */
  judged(run: TracedRun): void {
    if (run.isRun && run.isOurs) this.#move(run, 'judged')
    else this.#drop(run)
  }

  /** Traces whose time has come when the log's time is `walMs`, and, when there are too many, the next ones. */
  *due(walMs: number): Iterable<TracedRun> {
    yield* upTo(this.#queues.finished, walMs - this.#times.endWaitMs)
    yield* upTo(this.#queues.rooted, walMs - this.#times.rootWaitMs)
    yield* upTo(this.#queues.open, walMs - this.#times.idleMs)
    let excess = this.#bytes - MOST_BYTES
    if (excess <= 0) return
    const { judged, finished, rooted, open } = this.#queues
    for (const run of [...judged, ...finished, ...rooted, ...open]) {
      if (excess <= 0) return
      excess -= sizeOf(run)
      if (run.state !== 'judged') yield run
    }
  }

  /** Forgets those that were judged long ago, and, when there are too many, those judged first. */
  forget(walMs: number): void {
    for (const run of this.#runs.values()) {
      if (run.firstMs > walMs - LONGEST_MS) break
      this.#give(run)
    }
    for (const run of this.#queues.judged) {
      const isLate = run.lastMs <= walMs - 2 * this.#times.idleMs
      if (!isLate && this.#bytes <= MOST_BYTES) return
      this.#drop(run)
    }
  }

  #drop(run: TracedRun): void {
    this.#queues[run.state].delete(run)
    this.#runs.delete(`${run.tenant}\0${run.trace}`)
    this.#bytes -= sizeOf(run)
  }

  /** It is not judged any more, and holds nothing. */
  #give(run: TracedRun): void {
    this.#bytes -= 8 * run.seqs.length
    run.seqs = []
    run.isTooLarge = true
  }

  #add(tenant: string, trace: string, walMs: number): TracedRun {
    const run: TracedRun = {
      tenant,
      trace,
      seqs: [],
      firstMs: walMs,
      spans: 0,
      isRun: false,
      isOurs: false,
      lastMs: 0,
      ended: undefined,
      isFinished: false,
      isTooLarge: false,
      state: 'open',
    }
    this.#runs.set(`${tenant}\0${trace}`, run)
    this.#bytes += ENTRY_BYTES
    return run
  }

  #note(run: TracedRun, seq: number): void {
    if (run.seqs.at(-1) === seq || run.isTooLarge) return
    run.seqs.push(seq)
    this.#bytes += 8
    if (run.seqs.length > MOST_MESSAGES) this.#give(run)
  }

  /** To the end of its queue. */
  #move(run: TracedRun, state: TracedRun['state']): void {
    this.#queues[run.state].delete(run)
    run.state = state
    this.#queues[state].add(run)
  }
}

function waiting({ ended, isFinished }: TracedRun): TracedRun['state'] {
  if (ended === undefined) return 'open'
  return isFinished ? 'finished' : 'rooted'
}

function sizeOf(run: TracedRun): number {
  return ENTRY_BYTES + 8 * run.seqs.length
}

function* upTo(queue: ReadonlySet<TracedRun>, lastMs: number): Iterable<TracedRun> {
  for (const run of queue) {
    if (run.lastMs > lastMs) return
    yield run
  }
}
