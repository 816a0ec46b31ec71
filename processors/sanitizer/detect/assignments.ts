import type { SensitiveKeys } from '../keys.ts'
import type { Detector, Finding } from './finding.ts'
import { FEATURE } from './features.ts'

/**
 * Secrets by the name they are given in running text: `password=…`, `'api_key': '…'`, `Authorization: Bearer …`,
 * `--token …`, `<secret>…</secret>`, `password = 'x'` in SQL. Goes from separator to separator; what is left of one is
 * looked at over 64 characters, what is right of it once.
 */
export function assignments(keys: SensitiveKeys): Detector {
  return {
    type: 'sensitive_key',
    needs: FEATURE.word,
    find({ text }, found) {
      let done = 0
      for (let i = 0; i < text.length; i++) {
        const code = text.charCodeAt(i)
        if (code !== COLON && code !== EQUALS && code !== CLOSE && code !== DASH) continue
        const finding = i < done ? undefined : assigned(text, i, keys)
        if (finding === undefined) continue
        found.push(finding)
        done = finding.end
        i = done - 1
      }
    },
  }
}

const COLON = 58
const EQUALS = 61
const CLOSE = 62
const DASH = 45
const LONGEST_NAME = 64
const LONGEST_VALUE = 8192
const NAME = /[A-Za-z0-9_.[\]-]/
const SCHEME = /(?:Bearer|Basic|Token|Digest|ApiKey|Negotiate|AWS4-HMAC-SHA256)[ \t]+/iy

function assigned(text: string, at: number, keys: SensitiveKeys): Finding | undefined {
  const code = text.charCodeAt(at)
  if (code === DASH) return flag(text, at, keys)
  if (code === CLOSE && text[at - 1] !== '=' && text[at - 1] !== '-') return element(text, at, keys)
  const name = nameBefore(text, code === CLOSE ? at - 1 : at)
  if (name === undefined || !keys.has(name.text)) return undefined
  return value(text, at + 1, name, code === EQUALS)
}

interface Name {
  readonly text: string
  readonly start: number
  readonly isQuoted: boolean
}

/** The name that ends before `at`, over spaces and quotes. */
function nameBefore(text: string, at: number): Name | undefined {
  let end = at
  while (end > 0 && at - end < 4 && /[ \t]/.test(text[end - 1]!)) end--
  const bare = end
  while (end > 0 && bare - end < 8 && /["'`\\\]]/.test(text[end - 1]!)) end--
  let start = end
  while (start > 0 && end - start < LONGEST_NAME && NAME.test(text[start - 1]!)) start--
  if (start === end) return undefined
  return { text: text.slice(start, end), start, isQuoted: end < bare }
}

function value(text: string, from: number, name: Name, isEquals: boolean): Finding | undefined {
  let at = from
  while (at < text.length && at - from < 8 && /[ \t=>:]/.test(text[at]!)) at++
  const quote = /\\{0,7}["'`]/y
  quote.lastIndex = at
  const open = quote.exec(text)?.[0]
  if (open !== undefined) return quoted(text, at + open.length, open)
  if (/cookie$/i.test(name.text)) return restOfLine(text, at)
  SCHEME.lastIndex = at
  const scheme = SCHEME.exec(text)?.[0].length ?? 0
  const end = wordEnd(text, at + scheme)
  const word = text.slice(at + scheme, end)
  if (word.length < 3 || isPlaceholder(word)) return undefined
  const isTight = isEquals && at === from && from - 1 - name.start === name.text.length
  if (scheme === 0 && !isLikely(text, word, name, isTight)) return undefined
  return { start: at, end, type: 'sensitive_key' }
}

/** To the same quote, escaped as deep. */
function quoted(text: string, start: number, open: string): Finding | undefined {
  const limit = Math.min(text.length, start + LONGEST_VALUE)
  let end = text.slice(start, limit).indexOf(open) + start
  if (end < start) end = wordEnd(text, start)
  const content = text.slice(start, end)
  if (content.length < 2 || isPlaceholder(content)) return undefined
  if (open.endsWith('`') && content.includes(' ')) return undefined
  return { start, end, type: 'sensitive_key' }
}

function restOfLine(text: string, start: number): Finding | undefined {
  let end = start
  while (end < text.length && end - start < LONGEST_VALUE && !/[\r\n"'`\\]/.test(text[end]!)) end++
  return end - start < 3 ? undefined : { start, end, type: 'sensitive_key' }
}

function wordEnd(text: string, start: number): number {
  let end = start
  while (end < text.length && end - start < LONGEST_VALUE && !/[\s"'`,;&<>)}\]\\|]/.test(text[end]!)) end++
  return end
}

/** `--password hunter2`; the form with `=` is found at its `=`. */
function flag(text: string, at: number, keys: SensitiveKeys): Finding | undefined {
  if (text[at + 1] !== '-' || /[\w-]/.test(text[at - 1] ?? '')) return undefined
  const match = FLAG.exec(text.slice(at, at + LONGEST_NAME))
  if (match === null || !keys.has(match[1]!)) return undefined
  let start = at + match[0].length
  const open = /["']/.test(text[start] ?? '') ? text[start++]! : ''
  if (open !== '') return quoted(text, start, open)
  const end = wordEnd(text, start)
  const word = text.slice(start, end)
  if (word.length < 3 || word.startsWith('-') || isPlaceholder(word)) return undefined
  return { start, end, type: 'sensitive_key' }
}

const FLAG = /^--([A-Za-z][A-Za-z0-9-]{1,50})[ \t]{1,4}(?=\S)/

/** `<password>hunter2</password>` */
function element(text: string, at: number, keys: SensitiveKeys): Finding | undefined {
  const name = nameBefore(text, at)
  if (name === undefined || name.isQuoted || text[name.start - 1] !== '<' || !keys.has(name.text))
    return undefined
  const end = text.indexOf('<', at)
  const content = end < 0 || end - at > LONGEST_VALUE ? '' : text.slice(at + 1, end)
  if (content.trim().length < 2 || isPlaceholder(content.trim())) return undefined
  return { start: at + 1, end, type: 'sensitive_key' }
}

/** Something that stands for a value: `${X}`, `<token>`, `xxxx`, `None`, `os.environ`, `getpass()`, what was masked before. */
export function isPlaceholder(value: string): boolean {
  return (
    /^(?:null|none|nil|true|false|undefined|yes|no|n\/a|\*+|\.{2,}|-+|_+)$/i.test(value) ||
    /^(?:\$|[<{([%]|#\{|@\{)/.test(value) ||
    /^(?:os\.|process\.env|env\.|ENV\[|secrets\.|vars\.|var\.|config\.|settings\.|self\.|this\.|args\.|getenv|getpass)/.test(
      value,
    ) ||
    /([A-Za-z*.\d])\1{5,}|\.\.\.?(?:\[|$)|…$|^[A-Z]+(?:_[A-Z]+)+$/.test(value) ||
    value.includes('(')
  )
}

/** Prose and code speak of passwords too: `password: must be …`, `token = token`. */
function isLikely(text: string, word: string, name: Name, isTight: boolean): boolean {
  if (/[/\\]$|^\W+$/.test(word)) return false
  const isWordy = /^[A-Za-z_.-]+$/.test(word)
  if (!isWordy) return word.length >= 4 || isTight
  if (!isTight) return false
  const before = text[name.start - 1] ?? '\n'
  return (
    /[?&;\n]/.test(before) ||
    /^[A-Z0-9_]+$/.test(name.text) ||
    /(?:^|\n)(?:export|set) $/.test(text.slice(Math.max(0, name.start - 8), name.start))
  )
}
