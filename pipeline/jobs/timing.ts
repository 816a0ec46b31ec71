import { Cron } from 'croner'
import { z } from 'zod'
import { digestOf } from '../digest.ts'
import { duration } from '../schema.ts'

/** The keys that every job has, and the times that they mean. */

export interface Preset {
  /** Cron; absent: only when somebody asks. */
  readonly schedule?: string
  readonly jitter?: string
  readonly deadline?: string
}

/** What of a job's config says when it runs. */
export interface Timing {
  readonly schedule?: string | undefined
  /** Milliseconds. */
  readonly every?: number | undefined
  readonly timezone: string
  readonly jitter: number
  readonly catch_up: 'once' | 'none'
  readonly deadline: number
  readonly enabled: boolean
}

/** The schema of a job: the common keys, then its own. */
export function jobConfig<S extends z.ZodRawShape>(shape: S, preset: Preset = {}) {
  return z.strictObject({ ...timingFields(preset), ...shape })
}

function timingFields({ schedule, jitter = '0s', deadline = '24h' }: Preset) {
  const cron = z
    .string()
    .superRefine((text, context) => {
      const message = cronProblem(text)
      if (message !== undefined) context.addIssue({ code: 'custom', message })
    })
    .optional()
    .describe(
      'When it runs: cron of 5 fields, or of 6 with seconds first. Without it and `every`: when asked.',
    )
  return {
    schedule: schedule === undefined ? cron : cron.default(schedule),
    every: duration()
      .refine((ms) => ms >= 1000, 'must be at least 1s')
      .optional()
      .describe('Runs at each multiple of this time since 1970 (UTC); wins over `schedule`.'),
    timezone: z
      .string()
      .refine(isZone, 'must be a time zone of the IANA database, such as UTC or Europe/Berlin')
      .default('UTC')
      .describe(
        'Time zone of `schedule`. A fixed time that a change of clocks leaves out comes an hour later, one that occurs twice comes once; steps and `*` follow real time.',
      ),
    jitter: duration()
      .prefault(jitter)
      .describe('Runs come up to this much later, the same for each daemon: job and tick decide.'),
    catch_up: z
      .enum(['once', 'none'])
      .default('once')
      .describe(
        'When ticks were missed (no daemon, or a run took too long): one run for all of them, or none.',
      ),
    deadline: duration()
      .prefault(deadline)
      .describe('A run that takes longer than this, interruptions included, ends as timed out; 0: no limit.'),
    enabled: z.boolean().default(true).describe('False: runs only when asked.'),
  }
}

function cronProblem(text: string): string | undefined {
  try {
    const next = cronOf(text, 'UTC').nextRun()
    return next === null ? 'names no time that will ever come' : undefined
  } catch (error) {
    const why = error instanceof Error ? error.message.replace(/^CronPattern: /, '') : String(error)
    return `is no cron expression such as "0 2 * * *": ${why}`
  }
}

function isZone(text: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: text }).format(0)
    return true
  } catch {
    return false
  }
}

/** Only asked for times: without a function it starts no timer. */
function cronOf(text: string, timezone: string): Cron {
  return new Cron(text, { timezone, mode: '5-or-6-parts' })
}

/** When a job is due. The same in every daemon: it depends on the job's id, its config and the clock alone. */
export class Timetable {
  readonly #job: string
  readonly #timing: Timing
  readonly #cron: Cron | undefined

  constructor(job: string, timing: Timing) {
    this.#job = job
    this.#timing = timing
    this.#cron =
      timing.every === undefined && timing.schedule !== undefined
        ? cronOf(timing.schedule, timing.timezone)
        : undefined
  }

  /** Changes when the ticks do. */
  get text(): string {
    const { schedule, every, timezone, enabled } = this.#timing
    if (!enabled) return 'off'
    return every === undefined ? `${schedule ?? 'asked'} ${timezone}` : `every ${every}`
  }

  /** The first tick after `ms`, and when its run is due; undefined: there is none. */
  after(ms: number): { readonly tickMs: number; readonly dueMs: number } | undefined {
    const tickMs = this.#tickAfter(ms)
    return tickMs === undefined ? undefined : { tickMs, dueMs: this.#due(tickMs) }
  }

  /** The newest tick after `afterMs` whose run is due at `nowMs`. */
  latest(afterMs: number, nowMs: number): { readonly tickMs: number; readonly dueMs: number } | undefined {
    for (const tickMs of this.#ticksUntil(nowMs)) {
      if (tickMs <= afterMs) return undefined
      const dueMs = this.#due(tickMs)
      if (dueMs <= nowMs) return { tickMs, dueMs }
    }
    return undefined
  }

  #tickAfter(ms: number): number | undefined {
    const { every, enabled } = this.#timing
    if (!enabled) return undefined
    if (every !== undefined) return (Math.floor(ms / every) + 1) * every
    return this.#cron?.nextRun(new Date(ms))?.getTime()
  }

  /** The last ones up to `ms`, newest first: a jitter is shorter than the time between two. */
  #ticksUntil(ms: number): readonly number[] {
    const { every, enabled } = this.#timing
    if (!enabled) return []
    if (every !== undefined) {
      const last = Math.floor(ms / every) * every
      return [last, last - every]
    }
    const runs = this.#cron?.previousRuns(3, new Date(ms + 1000)) ?? []
    return runs.map((date) => date.getTime()).filter((tick) => tick <= ms)
  }

  #due(tickMs: number): number {
    const { jitter } = this.#timing
    if (jitter === 0) return tickMs
    const gap = (this.#tickAfter(tickMs) ?? Infinity) - tickMs
    const share = digestOf('jitter', this.#job, tickMs).readUInt32BE(0) / 2 ** 32
    return tickMs + Math.floor(share * Math.min(jitter, gap))
  }
}
