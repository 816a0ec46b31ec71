import type { Archive } from '../../pipeline/archive/archive.ts'
import type { Batch } from '../../pipeline/batch/batch.ts'
import { inOrder } from '../../pipeline/chain.ts'
import type { Processor } from '../../pipeline/component.ts'
import { digestOf } from '../../pipeline/digest.ts'
import { readTombstones } from '../../pipeline/erasure.ts'
import { messageOf, reject, retry } from '../../pipeline/fault.ts'
import { headsOf, type Heads } from '../../pipeline/jobs/feeders.ts'
import type { Job, JobContext, JobReport, ReplayRoute, Task } from '../../pipeline/jobs/job.ts'
import type { StoredRedactor } from '../../pipeline/redact.ts'
import { sleep } from '../../pipeline/sleep.ts'
import { fromArchive } from './archive-source.ts'
import { passed } from './behind.ts'
import type { Chunk, Position } from './chunk.ts'
import type { Config } from './config.ts'
import { fromLog } from './log-source.ts'
import type { Params } from './params.ts'
import { archiveOf, planOf, type Plan } from './plan.ts'
import { selector } from './select.ts'
import { give, look } from './sink.ts'
import { NOTHING, reportOf, Traces, withChunk, type Figures, type Outcome } from './tally.ts'

/** What a run keeps. */
interface Saved {
  readonly v: 1
  readonly plan: Plan
  readonly position: Position
  readonly figures: Figures
}

const STOP_MS = 5000
const REPRICE_MS = 20_000
const TOMBSTONES_MS = 1000

/** Delivers again, from the WAL or an archive through a pipeline's processors, what a store may hold already. */
export class ReplayJob implements Job {
  readonly #config: Config
  readonly #context: JobContext

  constructor(config: Config, context: JobContext) {
    this.#config = config
    this.#context = context
  }

  async run(task: Task, signal: AbortSignal): Promise<JobReport> {
    const { stores } = this.#context
    const params = task.params as Params
    const route = stores.route(params.pipeline, params.exporter)
    if (params.replace && route.exporter.replay === undefined) {
      throw reject('REQUEST_INVALID', `replace: ${route.exporterId} cannot replace what it holds`)
    }
    const saved = (task.checkpoint as Saved | undefined) ?? {
      v: 1,
      plan: await planOf(params, stores, route, this.#config.directories, signal),
      position: { in: 'log', seq: 0 },
      figures: NOTHING,
    }
    const run = new Run(this.#config, this.#context, task, params, route, saved)
    return await run.rest(signal)
  }
}

class Run {
  readonly #config: Config
  readonly #context: JobContext
  readonly #task: Task
  readonly #params: Params
  readonly #route: ReplayRoute
  readonly #plan: Plan
  readonly #traces: Traces | undefined
  readonly #startedMs = performance.now()
  #delivered = 0
  #erase: ((batch: Batch) => void) | undefined
  #erasedMs = 0
  #position: Position
  #figures: Figures

  constructor(
    config: Config,
    context: JobContext,
    task: Task,
    params: Params,
    route: ReplayRoute,
    { plan, position, figures }: Saved,
  ) {
    this.#config = config
    this.#context = context
    this.#task = task
    this.#params = params
    this.#route = route
    this.#plan = plan
    this.#position = position
    this.#figures = figures
    this.#traces = task.dryRun ? new Traces() : undefined
  }

  /** The log first: what waits there is trimmed. */
  async rest(signal: AbortSignal): Promise<JobReport> {
    await this.#save({})
    if (this.#position.in === 'log') {
      if (this.#plan.log !== undefined) await this.#pass('log', this.#plan.log, signal)
      await this.#save({ position: { in: 'archive', after: '', within: '', requests: 0 } })
    }
    if (this.#position.in === 'archive') {
      if (this.#plan.archive !== undefined) await this.#pass('archive', undefined, signal)
      await this.#save({ position: { in: 'prices', fromMs: this.#figures.firstMs } })
    }
    if (this.#position.in === 'prices') await this.#reprice(this.#position.fromMs, signal)
    if (!this.#task.dryRun) await this.#route.exporter.replay?.settle(signal)
    return reportOf(this.#figures, {
      dryRun: this.#task.dryRun,
      knows: this.#route.exporter.replay !== undefined,
      replace: this.#params.replace,
      reprice: this.#params.reprice,
      traces: this.#traces,
      notes: this.#plan.notes,
    })
  }

  async #pass(source: 'log' | 'archive', log: Plan['log'], signal: AbortSignal): Promise<void> {
    const processors = await this.#route.processors(source)
    const started: Processor[] = []
    try {
      for (const processor of processors) {
        started.push(processor)
        await processor.start?.()
      }
      const select = selector(this.#params)
      const run = inOrder(processors)
      const process: Processor['process'] = async (batch) => {
        select(batch)
        if (batch.live > 0) (await this.#erasures())(batch)
        if (batch.live > 0) await this.#redactor?.redact(batch)
        return await run(batch)
      }
      const chunks = log === undefined ? this.#archived(process, signal) : this.#logged(log, process, signal)
      for await (const chunk of chunks) await this.#take(chunk, signal)
    } finally {
      const deadline = AbortSignal.timeout(STOP_MS)
      for (const processor of started.toReversed()) await processor.stop?.(deadline).catch(() => undefined)
    }
  }

  #logged(
    { from, to }: NonNullable<Plan['log']>,
    process: Processor['process'],
    signal: AbortSignal,
  ): AsyncIterable<Chunk> {
    const next = this.#position.in === 'log' ? Math.max(from, this.#position.seq) : from
    return fromLog(this.#route, { from: next, to }, this.#chunkSpans, process, signal)
  }

  #archived(process: Processor['process'], signal: AbortSignal): AsyncIterable<Chunk> {
    const { source = '', part } = this.#plan.archive ?? {}
    const { from = 0, to = Infinity, tenant, prefix } = this.#params
    const archive = this.#archive(source)
    const { after, within, requests } =
      this.#position.in === 'archive' ? this.#position : { after: '', within: '', requests: 0 }
    const scope = { fromMs: from, toMs: to, tenant, prefix, after }
    const options = { archive, scope, part, within, done: requests, maxSpans: this.#chunkSpans, process }
    return fromArchive(options, signal)
  }

  /**
   * What lies in logs and archives was redacted by the rules of then, and the redaction sweep has done with the store by
   * those of now. Undefined: nobody redacts, or several do and nothing says whose a span is.
   */
  get #redactor(): StoredRedactor | undefined {
    const all = this.#context.stores.redactors()
    return new Set(all.map(({ id }) => id)).size === 1 ? all[0] : undefined
  }

  /** As they were a moment ago: batches may be small and many. */
  async #erasures(): Promise<(batch: Batch) => void> {
    const nowMs = performance.now()
    if (this.#erase === undefined || nowMs - this.#erasedMs > TOMBSTONES_MS) {
      this.#erase = await readTombstones(this.#context.state)
      this.#erasedMs = nowMs
    }
    return this.#erase
  }

  /** That there is one, the plan has seen: after a restart its exporter may not have started yet. */
  #archive(source: string): Archive {
    try {
      return archiveOf(source, this.#context.stores, this.#config.directories)
    } catch (error) {
      throw retry('EXPORT_UNAVAILABLE', messageOf(error), undefined, { cause: error })
    }
  }

  /** A second's worth where there is a rate: so that it is even. */
  get #chunkSpans(): number {
    return Math.max(1, Math.min(this.#config.chunk_spans, Math.ceil(this.#params.rate ?? Infinity)))
  }

  async #take(chunk: Chunk, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const { exporter, cursor, feeders, log } = this.#route
    const { job, id, scheduledAtMs, dryRun } = this.#task
    const given = {
      exporter,
      cursor: `replay/${cursor}`,
      chunk: { ...chunk, batches: chunk.batches.filter((batch) => batch.live > 0) },
      token: hexOf('replay', job, id, scheduledAtMs, chunk.name),
      name: hexOf('replay', cursor, JSON.stringify({ ...this.#params, rate: 0 }), chunk.name),
    }
    const selected = chunk.batches.reduce((sum, batch) => sum + batch.live, 0)
    let outcome = { present: 0, added: 0, expired: 0, rejected: 0 }
    if (selected > 0 && dryRun) outcome = await look(given, signal)
    else if (selected > 0) {
      const upTo = chunk.to > 0 ? { [log.connector]: chunk.to } : await this.#archivedUpTo()
      if (exporter.replay !== undefined) await passed(this.#context.state, feeders, upTo, signal)
      outcome = await give(given, this.#params.replace, signal)
    }
    this.#traces?.add(chunk.batches)
    const figures = withChunk(this.#figures, chunk.read, chunk.batches, outcome)
    await this.#save({ position: chunk.next, figures })
    if (!dryRun) this.#count(outcome)
    this.#tell(chunk)
    await this.#pace(selected, signal)
  }

  /** An archive that still grows may hold what the log took only now. */
  async #archivedUpTo(): Promise<Heads> {
    if (this.#plan.archive?.part !== undefined) return this.#plan.heads
    return await headsOf(this.#context.stores, this.#route.feeders)
  }

  #count({ present, ...outcome }: Outcome): void {
    const counter = this.#context.meter.counter('weir_replay_spans')
    const outcomes = { [this.#params.replace ? 'replaced' : 'already_there']: present, ...outcome }
    for (const [name, spans] of Object.entries(outcomes)) if (spans > 0) counter.add(spans, { outcome: name })
  }

  #tell({ to }: Chunk): void {
    const { read } = this.#figures
    const { log, archive } = this.#plan
    const share = log === undefined || to === 0 ? 0 : (to + 1 - log.from) / (log.to + 1 - log.from)
    const total = share > 0 && archive === undefined ? Math.max(read, Math.round(read / share)) : undefined
    this.#task.progress(read, total, 'spans')
  }

  async #pace(spans: number, signal: AbortSignal): Promise<void> {
    const { rate } = this.#params
    if (rate === undefined) return
    this.#delivered += spans
    const aheadMs = (this.#delivered / rate) * 1000 - (performance.now() - this.#startedMs)
    if (aheadMs > 0) await sleep(aheadMs, signal)
  }

  async #reprice(firstMs: number, signal: AbortSignal): Promise<void> {
    const { lastMs, selected } = this.#figures
    if (!this.#params.reprice || selected === 0) return
    const { tenant } = this.#params
    for (let fromMs: number | undefined = firstMs; fromMs !== undefined;) {
      const request = {
        fromMs,
        toMs: lastMs + 1,
        dryRun: this.#task.dryRun,
        budgetMs: REPRICE_MS,
        ...(tenant !== undefined && { tenant }),
      }
      const { models, nextMs } = await this.#route.reprice(request, signal)
      const repriced = models.reduce((sum, { changed }) => sum + changed, this.#figures.repriced)
      fromMs = nextMs
      await this.#save({
        position: fromMs === undefined ? { in: 'end' } : { in: 'prices', fromMs },
        figures: { ...this.#figures, repriced },
      })
    }
  }

  /** A dry run begins anew: it does nothing that would have to be gone on with. */
  async #save(change: Partial<Pick<Saved, 'position' | 'figures'>>): Promise<void> {
    this.#position = change.position ?? this.#position
    this.#figures = change.figures ?? this.#figures
    if (this.#task.dryRun) return
    await this.#task.save({
      v: 1,
      plan: this.#plan,
      position: this.#position,
      figures: this.#figures,
    } satisfies Saved)
  }
}

function hexOf(...parts: readonly (string | number)[]): string {
  return digestOf(...parts).toString('hex')
}
