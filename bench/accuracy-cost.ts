import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { gunzipSync } from 'node:zlib'
import { argumentFor, unargued, type Agreement, type Argued } from '../test/genai/agreement.ts'
import { ARGUED, compareTraces } from '../test/genai/expected-traces.ts'
import { ARGUED_CASES, compareMapping } from '../test/genai/mapping-cases.ts'
import { builtInBook, costProcessor } from '../test/genai/pricing.ts'
import { ARGUED_USAGES, compareUsages } from '../test/genai/provider-usages.ts'
import { compareVectors } from '../test/genai/vectors.ts'

/**
 * How well the mapping and the prices answer what others answered of the same data: `npm run accuracy -- cost
 * [--data DIR] [--price-file FILE]`. DIR has the shape of the shared data; what it lacks is said. Every difference is
 * printed, with its argument where it has one; without one the exit code is 1.
 */
const { values } = parseArgs({
  args: process.argv.slice(3),
  options: { data: { type: 'string', default: '../shared/data' }, 'price-file': { type: 'string' } },
})

/** Its text, unpacked; undefined, and said, when it is not there. */
function read(name: string): string | undefined {
  const path = join(values.data, name)
  if (!existsSync(path)) {
    say(`${path} is not here`)
    return undefined
  }
  const raw = readFileSync(path)
  return (name.endsWith('.gz') ? gunzipSync(raw) : raw).toString('utf8')
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

function report(name: string, agreement: Agreement, argued: Argued): boolean {
  const { compared, differences } = agreement
  const open = unargued(agreement, argued)
  say(`\n${name}: ${compared} compared, ${differences.length} differ, ${open.length} of them unargued`)
  for (const difference of differences) {
    const why = argumentFor(difference, argued)
    say(
      `  ${why === undefined ? 'WRONG ' : 'argued'} ${difference.key}: weir ${difference.got}, the data ${difference.wanted}`,
    )
    if (why !== undefined) say(`         ${why}`)
  }
  return open.length === 0
}

async function main(): Promise<boolean> {
  const priceFile = values['price-file']
  const processor = await costProcessor(priceFile === undefined ? {} : { price_file: priceFile })
  const results: boolean[] = []
  const vectors = read('cost/vectors.json')
  if (vectors !== undefined)
    results.push(report('worked vectors, to the last decimal', compareVectors(vectors, processor), {}))
  const usages = read('cost/provider-usages.json.gz')
  if (usages !== undefined) {
    const agreement = compareUsages(usages, await builtInBook(priceFile))
    results.push(report('provider payloads, usage and prices', agreement, ARGUED_USAGES))
    const of = (kind: string): string => {
      const compared = kind === 'usage' ? agreement.payloads : agreement.compared - agreement.payloads
      const differ = agreement.differences.filter(({ key }) => key.startsWith(`${kind} `)).length
      return `${kind} ${compared - differ} of ${compared} (${percent(compared - differ, compared)})`
    }
    const { payloads, agreed } = agreement
    say(
      `  agree: ${of('usage')}, ${of('price')}; payloads with all of it ${agreed} of ${payloads} (${percent(agreed, payloads)})`,
    )
  }
  const cases = read('traces/otlp/mapping-cases.json')
  if (cases !== undefined) results.push(report('mapping cases', compareMapping(cases), ARGUED_CASES))
  const expected = read('traces/otlp/expected.jsonl')
  if (expected !== undefined) {
    const trace = (file: string) => read(`traces/otlp/${file}`)
    results.push(report('spans of real traces', compareTraces(expected, trace, processor), ARGUED))
  }
  return results.length > 0 && results.every(Boolean)
}

function percent(part: number, whole: number): string {
  return `${((100 * part) / whole).toFixed(2)} %`
}

process.exitCode = (await main()) ? 0 : 1
