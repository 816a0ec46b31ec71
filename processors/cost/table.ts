import { readFile } from 'node:fs/promises'
import { z } from 'zod'

/** The price file: what `npm run prices` writes, and what `price_file` may replace. */

const decimal = z.string().regex(/^\d{1,9}(\.\d{1,12})?$/, 'a decimal text in USD per 1,000,000 tokens')
const pair = z.object({ input: decimal, output: decimal.optional() })
const rates = z.object({
  input: decimal.optional(),
  output: decimal.optional(),
  cacheRead: decimal.optional(),
  cacheWrite: decimal.optional(),
  cacheWrite1h: decimal.optional(),
  reasoning: decimal.optional(),
  audioInput: decimal.optional(),
  audioOutput: decimal.optional(),
  imageInput: decimal.optional(),
  imageOutput: decimal.optional(),
})

const instant = z.iso.date().or(z.iso.datetime({ offset: true }))
const clock = z.string().regex(/^\d{2}:\d{2}$/, 'a time of day, HH:MM')

function isAscending(tiers: readonly { over: number }[]): boolean {
  return tiers.every(({ over }, index) => index === 0 || over > (tiers[index - 1]?.over ?? 0))
}

const period = rates.extend({
  /** First and first-not UTC day (or instant), ISO 8601. */
  from: instant.optional(),
  to: instant.optional(),
  /** UTC times of day, `HH:MM`, from and until. */
  hours: z.tuple([clock, clock]).optional(),
  /** Ascending; the whole request is at the highest tier that its input is over. */
  tiers: z
    .array(rates.extend({ over: z.number() }))
    .refine(isAscending, 'tiers must stand in ascending order of over')
    .optional(),
  batch: pair.optional(),
  flex: pair.optional(),
  priority: pair.optional(),
})

const model = z.object({
  provider: z.string(),
  id: z.string(),
  /** Which other ids it is: one of equals, starts_with, ends_with, contains, regex, or, and. */
  match: z.unknown().optional(),
  source: z.string().optional(),
  /** Factors for requests processed in a geography, and for a fast mode. */
  geo: z.record(z.string(), decimal).optional(),
  fast: decimal.optional(),
  /** The last one that holds at a time wins. */
  periods: z.array(period),
})

const table = z.object({ version: z.string(), models: z.array(model) })

export type PriceTable = z.output<typeof table>
export type PriceModel = z.output<typeof model>
export type PricePeriod = z.output<typeof period>
export type Rates = z.output<typeof rates>

/** Reads and checks a price file; throws what zod or the file system throws. */
export async function readTable(path: string | URL): Promise<PriceTable> {
  return table.parse(JSON.parse(await readFile(path, 'utf8')))
}

/** The table that comes with weir. */
export function builtInTable(): Promise<PriceTable> {
  return readTable(new URL('./prices.json', import.meta.url))
}
