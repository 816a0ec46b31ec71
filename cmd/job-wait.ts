import { setTimeout as delay } from 'node:timers/promises'
import { faultOf } from '../pipeline/fault.ts'
import { safeText } from '../pipeline/telemetry/safe-text.ts'
import type { ApiClient } from './client.ts'
import type { Io } from './verb.ts'

/** A run, as the API tells it. */
export interface RunAnswer {
  readonly run: string
  /** `queued`, `running`, `cancelling`, or how it ended. */
  readonly status: string
  readonly dry_run: boolean
  readonly progress?: { readonly done: number; readonly total?: number; readonly unit: string }
  readonly trouble?: string
  readonly error?: string
  readonly report?: { readonly counts: Readonly<Record<string, number>>; readonly notes: readonly string[] }
}

const POLL_MS = 100
const POLL_MAX_MS = 1000
/** A daemon that restarts is waited for this long: the run goes on with it. */
const AWAY_MS = 60_000
const GOING_ON = ['queued', 'running', 'cancelling']
const WIDTH = 24

/** Resolves once the run has ended. A terminal is told how far it is. */
export async function awaitRun(client: ApiClient, job: string, id: string, io: Io): Promise<RunAnswer> {
  const path = `/v1/jobs/${encodeURIComponent(job)}/runs/${encodeURIComponent(id)}`
  let answeredMs = performance.now()
  for (let wait = POLL_MS; ; wait = Math.min(wait * 1.5, POLL_MAX_MS)) {
    try {
      const { run } = (await client.get(path)) as { run: RunAnswer }
      answeredMs = performance.now()
      if (!GOING_ON.includes(run.status)) {
        io.progress?.('')
        return run
      }
      io.progress?.(bar(run))
    } catch (error) {
      if (faultOf(error)?.verdict.do !== 'retry' || performance.now() - answeredMs > AWAY_MS) throw error
    }
    await delay(wait)
  }
}

function bar({ run, status, progress, trouble }: RunAnswer): string {
  const head = `run ${safeText(run)} ${status}`
  const why = trouble === undefined ? '' : `  pauses: ${safeText(trouble)}`
  if (progress === undefined) return `${head}${why}`
  const { done, total, unit } = progress
  const count = `${done}${total === undefined ? '' : ` of ${total}`} ${safeText(unit)}`
  if (total === undefined || total <= 0) return `${head}  ${count}${why}`
  const share = Math.min(1, done / total)
  const full = Math.round(share * WIDTH)
  return `${head} [${'█'.repeat(full)}${'░'.repeat(WIDTH - full)}] ${Math.floor(share * 100)} %  ${count}${why}`
}
