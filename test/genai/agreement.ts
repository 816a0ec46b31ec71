/** One thing that weir answers otherwise than the data says. */
export interface Difference {
  /** Names the case and what of it differs: the same in every run. */
  readonly key: string
  readonly got: string
  readonly wanted: string
}

/** What came of comparing weir's answers with a data set's. */
export interface Agreement {
  readonly compared: number
  readonly differences: readonly Difference[]
}

/** key → why weir answers otherwise. A `*` at the end takes every key that begins so. */
export type Argued = Readonly<Record<string, string>>

/** Why the difference is right, where that is argued. */
export function argumentFor({ key }: Difference, argued: Argued): string | undefined {
  if (Object.hasOwn(argued, key)) return argued[key]
  const prefix = Object.keys(argued).find((each) => each.endsWith('*') && key.startsWith(each.slice(0, -1)))
  return prefix === undefined ? undefined : argued[prefix]
}

/** The differences that nobody argued for. */
export function unargued({ differences }: Agreement, argued: Argued): readonly Difference[] {
  return differences.filter((difference) => argumentFor(difference, argued) === undefined)
}

/** Arguments that nothing needs any more. */
export function stale({ differences }: Agreement, argued: Argued): readonly string[] {
  return Object.keys(argued).filter(
    (key) => !differences.some((each) => argumentFor(each, { [key]: '' }) === ''),
  )
}

/** Collects the answers of a run. */
export class Comparison implements Agreement {
  compared = 0
  readonly differences: Difference[] = []

  add(key: string, got: unknown, wanted: unknown): void {
    this.compared++
    const [own, theirs] = [JSON.stringify(got), JSON.stringify(wanted)]
    if (own !== theirs) this.differences.push({ key, got: own, wanted: theirs })
  }
}
