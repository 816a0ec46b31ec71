import { readFileSync } from 'node:fs'
import { InjectionDetector, type Origin } from '../processors/validators/text/injection.ts'
import { attacksOf, samplesOf, type Sample } from './injection-samples.ts'

/**
 * How well prompt injection is told from harmless text: `npm run accuracy -- injection [--misses] [--direct FILE] [--indirect FILE]
 * [--harmless FILE]`. False positives first. Of all texts, as shipped; and what the fit (scripts/injection.mjs) found in
 * templates, tasks and traces that it had not seen. FILEs hold a list of texts, or lists by category; they are judged
 * as shipped.
 */
const DATA = '../shared/data'
const ORIGINS = ['direct', 'indirect'] as const
const TITLES: Readonly<Record<Origin, string>> = {
  direct: 'direct: what a user wrote',
  indirect: 'indirect: what a tool returned, or a document holds',
}

const detector = new InjectionDetector()
const showMisses = process.argv.includes('--misses')

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

function option(name: string): string | undefined {
  const at = process.argv.indexOf(name)
  return at < 0 ? undefined : process.argv[at + 1]
}

function percent(part: number, whole: number): string {
  return whole === 0 ? '–' : `${((100 * part) / whole).toFixed(1)} %`
}

type HeldOut = Readonly<Record<Origin, Readonly<Record<string, readonly [found: number, all: number]>>>>

function heldOut(): HeldOut {
  const url = new URL('../processors/validators/text/weights.json', import.meta.url)
  return (JSON.parse(readFileSync(url, 'utf8')) as { readonly heldOut: HeldOut }).heldOut
}

function table(origin: Origin, samples: readonly Sample[], held: HeldOut, isAttack: boolean): void {
  say(`  ${(isAttack ? 'found of attacks' : 'false positives').padEnd(40)}${'as shipped'.padEnd(20)}held out`)
  const own = samples.filter((sample) => sample.isAttack === isAttack && sample.origins.includes(origin))
  for (const set of new Set(own.map((sample) => sample.set))) {
    const texts = own.filter((sample) => sample.set === set).map(({ text }) => text)
    const found = texts.filter((text) => detector.judge(text, origin) !== undefined)
    const [part, whole] = held[origin][set] ?? [0, 0]
    const shipped = `${found.length}/${texts.length} ${percent(found.length, texts.length)}`
    say(`  ${set.padEnd(40)}${shipped.padEnd(20)}${percent(part, whole)}`)
    if (showMisses) wrong(isAttack ? texts.filter((text) => !found.includes(text)) : found)
  }
}

function wrong(texts: readonly string[]): void {
  for (const text of texts) say(`      ${JSON.stringify(text.slice(0, 160))}`)
}

/** A file of one's own. */
function file(name: string, origins: readonly Origin[], isAttack: boolean): void {
  const path = option(name)
  if (path === undefined) return
  for (const origin of origins) {
    const texts = attacksOf(path)
    const found = texts.filter((text) => detector.judge(text, origin) !== undefined)
    say(
      `${path}, ${isAttack ? 'found' : 'false positives'} as ${origin}: ${found.length}/${texts.length} ${percent(found.length, texts.length)}`,
    )
    if (showMisses) wrong(isAttack ? texts.filter((text) => !found.includes(text)) : found)
  }
}

function main(): void {
  const samples = samplesOf(DATA)
  if (samples.length === 0) {
    process.stderr.write(`${DATA} is not here\n`)
    process.exit(1)
  }
  file('--harmless', ORIGINS, false)
  file('--direct', ['direct'], true)
  file('--indirect', ['indirect'], true)
  const held = heldOut()
  for (const isAttack of [false, true])
    for (const origin of ORIGINS) {
      say(`\n${TITLES[origin]}`)
      table(origin, samples, held, isAttack)
    }
}

main()
