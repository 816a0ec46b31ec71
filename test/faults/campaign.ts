import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import type { Archived } from '../s3/archive-check.ts'
import type { Reckoning } from './reckon.ts'

/** A leg begins with an empty world and ends with a reckoning: what an interrupted campaign need not do again. */
export interface Leg {
  readonly driver: string
  readonly leg: number
  readonly seed: number
  readonly kills: number
  readonly clickhouse: Reckoning
  readonly s3: Archived
  /** Deliveries that a kill left between an object and its manifest. */
  readonly halfway: number
  /** From a kill to the 20th acknowledgement behind it. */
  readonly intakeMs: readonly number[]
  /** From a kill to the first span that reached ClickHouse behind it; of some kills. */
  readonly deliveryMs: readonly number[]
}

export interface Plan {
  /** 0 to 2^31. */
  readonly seed: number
  readonly legs: number
  /** Kills per victim in a leg. */
  readonly rounds: number
  /** Spans that a leg acknowledges at least. */
  readonly spans: number
}

/** What is done, in a file of JSON lines if there is one: the plan, then each leg when it has ended. */
export class Campaign {
  readonly plan: Plan
  readonly legs: Leg[] = []
  readonly #file: string | undefined

  /** A file that is there decides the seed; of another plan it is refused. */
  constructor(plan: Plan, file: string | undefined) {
    this.#file = file
    if (file === undefined || !existsSync(file)) {
      this.plan = plan
      this.#write(plan)
      return
    }
    const [first = '', ...rest] = readFileSync(file, 'utf8').split('\n')
    this.plan = { ...plan, seed: (JSON.parse(first) as Plan).seed }
    if (JSON.stringify(this.plan) !== first) {
      throw new Error(
        `${file} is of another campaign, ${first}: give its variables to go on, or remove the file`,
      )
    }
    // Each line ends with a newline: what stands behind the last one was cut by the interruption.
    const whole = rest.slice(0, -1)
    for (const line of whole) this.legs.push(JSON.parse(line) as Leg)
    writeFileSync(file, `${[first, ...whole].join('\n')}\n`)
  }

  /** Of one leg of one driver, whatever ran before it. */
  seedOf(driver: string, leg: number): number {
    return this.plan.seed + leg * 2 + (driver === 'embedded' ? 0 : 1)
  }

  has(driver: string, leg: number): boolean {
    return this.legs.some((done) => done.driver === driver && done.leg === leg)
  }

  add(leg: Leg): void {
    this.legs.push(leg)
    this.#write(leg)
  }

  summary(): string {
    const sum = (of: (leg: Leg) => number): number => this.legs.reduce((total, leg) => total + of(leg), 0)
    const kills = [...new Set(this.legs.map(({ driver }) => driver))].map((driver) => {
      const own = this.legs.filter((leg) => leg.driver === driver)
      return `${own.reduce((total, leg) => total + leg.kills, 0)} over ${driver}`
    })
    return (
      `kill -9, seed ${this.plan.seed}: ${kills.join(', ')}, ${sum((leg) => leg.clickhouse.ackedSpans)} spans acknowledged; ` +
      `ClickHouse ${sum((leg) => leg.clickhouse.lost)} lost, ${sum((leg) => leg.clickhouse.doubled)} doubled; ` +
      `S3 ${sum((leg) => leg.s3.lost)} lost, ${sum((leg) => leg.s3.doubled)} doubled, ${sum((leg) => leg.s3.unlisted)} of ` +
      `${sum((leg) => leg.s3.objects)} objects not as listed, ${sum((leg) => leg.halfway)} killed before their manifest; ` +
      `intake back after ${spread(this.legs.flatMap((leg) => leg.intakeMs))}, ` +
      `delivery after ${spread(this.legs.flatMap((leg) => leg.deliveryMs))}`
    )
  }

  #write(line: Plan | Leg): void {
    if (this.#file !== undefined) appendFileSync(this.#file, `${JSON.stringify(line)}\n`)
  }
}

export function spread(values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (fraction: number): number => Math.round(sorted[Math.floor((sorted.length - 1) * fraction)] ?? 0)
  return `p50 ${at(0.5)} ms, max ${at(1)} ms`
}
