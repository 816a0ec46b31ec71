import { canonical, tagged } from './canonical.ts'
import { rot13 } from './lexicon.ts'
import { MARK } from './words.ts'

/** A text that stood hidden in another one, and how. */
export interface Layer {
  readonly text: string
  readonly how: 'unicode' | 'escapes' | 'base64' | 'hex' | 'leet' | 'spelled' | 'rot13' | 'reversed'
}

/** Bytes decoded of the runs of one text, and layers of one another. */
const MOST_DECODED = 262_144
const DEEPEST = 3

/**
 * What a text hides, by what a scan of it saw (`marks`: MARK bits), one level deep. The caller scans the layers and asks again, to `DEEPEST`.
 */
export function layersOf(text: string, marks: number, depth: number): Layer[] {
  if (depth >= DEEPEST) return []
  const layers: Layer[] = []
  const add = (how: Layer['how'], found: string): void => {
    if (found !== text && found.length > 0) layers.push({ text: found, how })
  }
  if ((marks & MARK.foreign) !== 0) {
    add('unicode', canonical(text))
    add('unicode', tagged(text))
  }
  if ((marks & MARK.escape) !== 0) add('escapes', unescaped(text))
  if ((marks & MARK.run) !== 0) for (const [how, found] of decodedRuns(text)) add(how, found)
  if ((marks & MARK.leet) !== 0)
    add(
      'leet',
      text.replace(LEET, (char) => LEET_LETTERS[char] ?? char),
    )
  if ((marks & MARK.spelled) !== 0)
    add(
      'spelled',
      text.replace(SPELLED, (run) => ` ${run.replace(/[^a-z]/gi, '')} `),
    )
  if ((marks & MARK.veiled) !== 0) {
    add('rot13', rot13(text))
    add('reversed', Array.from(text).reverse().join(''))
  }
  return layers
}

const LEET = /[0134578@$](?=[a-z0134578@$]*[a-z])|(?<=[a-z])[0134578@$]/gi
const LEET_LETTERS: Readonly<Record<string, string>> = {
  '0': 'o',
  '1': 'i',
  '3': 'e',
  '4': 'a',
  '5': 's',
  '7': 't',
  '8': 'b',
  '@': 'a',
  $: 's',
}
/** Letters one by one; two spaces part words. */
const SPELLED = /(?<![a-z])[a-z](?:[ ._*|-][a-z](?![a-z])){3,}/gi

const ENTITIES: Readonly<Record<string, string>> = {
  lt: '<',
  gt: '>',
  amp: '&',
  quot: '"',
  apos: "'",
  nbsp: ' ',
  colon: ':',
  period: '.',
}

/** Percent-encoding, entities of HTML, `\u0041` and `\x41` where they stand. */
function unescaped(text: string): string {
  return text
    .replace(/(?:%[0-9a-f]{2})+/gi, (run) => Buffer.from(run.replaceAll('%', ''), 'hex').toString('utf8'))
    .replace(
      /&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|([a-z]{2,6}));/gi,
      (all: string, decimal?: string, hex?: string, name?: string) => {
        if (name !== undefined) return ENTITIES[name.toLowerCase()] ?? all
        return point(decimal === undefined ? Number.parseInt(hex!, 16) : Number(decimal)) ?? all
      },
    )
    .replace(
      /\\u\{?([0-9a-f]{4,6})\}?|\\x([0-9a-f]{2})/gi,
      (all: string, wide?: string, narrow?: string) => point(Number.parseInt(wide ?? narrow!, 16)) ?? all,
    )
}

function point(code: number): string | undefined {
  return code <= 0x10ffff ? String.fromCodePoint(code) : undefined
}

const RUN = /[a-z0-9+/_-]{20,}={0,2}/gi
const HEX = /^(?:[0-9a-f]{2})+$/i

/** Text in base64 or hexadecimal, all runs of a kind as one. */
function decodedRuns(text: string): Map<Layer['how'], string> {
  const found = new Map<Layer['how'], string>()
  let budget = MOST_DECODED
  for (const [run] of text.matchAll(RUN)) {
    if (budget <= 0) break
    const isHex = HEX.test(run)
    const bytes = Buffer.from(run.slice(0, budget * 2), isHex ? 'hex' : 'base64')
    budget -= bytes.length
    if (!isText(bytes)) continue
    const how = isHex ? 'hex' : 'base64'
    found.set(how, `${found.get(how) ?? ''}${bytes.toString('utf8')}\n`)
  }
  return found
}

/** Mostly letters and spaces of ASCII, or UTF-8 beyond it. */
function isText(bytes: Uint8Array): boolean {
  const probe = bytes.subarray(0, 64)
  let wordly = 0
  for (const byte of probe) {
    if (byte < 9 || (byte > 13 && byte < 32) || byte === 127) return false
    if (byte === 32 || (byte > 64 && byte < 123)) wordly++
  }
  return wordly > probe.length * 0.7
}
