import { readFileSync } from 'node:fs'
import { entropy } from '../detect/checks.ts'
import { FEATURE } from '../detect/features.ts'
import type { Detector, Finding } from '../detect/finding.ts'
import { Keywords } from '../detect/keywords.ts'

/**
 * Keys and tokens of services, by the rules of gitleaks (MIT; `rules.json`, written by `scripts/gitleaks.mjs`): a rule
 * runs where one of its keywords is; its secret must have the rule's entropy and not be on an allow list.
 */
interface RawRule {
  readonly id: string
  readonly regex: string
  readonly keywords: readonly string[]
  readonly near?: readonly [string, number]
  readonly group?: number
  readonly entropy?: number
  readonly allow?: readonly RawAllow[]
}

interface RawAllow {
  readonly all?: boolean
  readonly target?: string
  readonly regexes?: readonly string[]
  readonly stopwords?: readonly string[]
}

interface Table {
  readonly allow: RawAllow
  readonly rules: readonly RawRule[]
}

export interface SecretRule {
  readonly id: string
  readonly pattern: RegExp
  readonly keywords: readonly string[]
  readonly near: readonly [string, number] | undefined
  readonly group: number | undefined
  readonly entropy: number
  readonly allow: readonly Allow[]
}

interface Allow {
  readonly all: boolean
  readonly onMatch: boolean
  readonly patterns: readonly RegExp[]
  readonly stopwords: Keywords | undefined
}

let builtIn: { readonly rules: readonly SecretRule[]; readonly allow: Allow } | undefined

/** Compiled at first use, once per process. */
export function secretRules(): { readonly rules: readonly SecretRule[]; readonly allow: Allow } {
  if (builtIn !== undefined) return builtIn
  const table = JSON.parse(readFileSync(new URL('./rules.json', import.meta.url), 'utf8')) as Table
  return (builtIn = { rules: table.rules.map(compiled), allow: allowOf(table.allow) })
}

function compiled(rule: RawRule): SecretRule {
  return {
    id: rule.id,
    pattern: new RegExp(rule.regex, 'g'),
    keywords: rule.keywords,
    near: rule.near,
    group: rule.group,
    entropy: rule.entropy ?? 0,
    allow: (rule.allow ?? []).map(allowOf),
  }
}

function allowOf(allow: RawAllow): Allow {
  return {
    all: allow.all === true,
    onMatch: allow.target === 'match',
    patterns: (allow.regexes ?? []).map((regex) => new RegExp(regex)),
    stopwords: allow.stopwords === undefined ? undefined : new Keywords(allow.stopwords),
  }
}

/** Keywords too short to mean anything: these rules run where a long token is. */
const SHORTEST_KEYWORD = 2

/** `words` is the prefilter's list; rules are found by the indexes into it. */
export function secrets(words: readonly string[]): Detector {
  const { rules, allow } = secretRules()
  const index = new Map(words.map((word, at) => [word, at]))
  const byWord = new Map<number, SecretRule[]>()
  const byRun: SecretRule[] = []
  for (const rule of rules) {
    for (const keyword of rule.keywords) {
      if (isWeak(keyword)) byRun.push(rule)
      else byWord.set(index.get(keyword)!, [...(byWord.get(index.get(keyword)!) ?? []), rule])
    }
  }
  return {
    type: 'secret',
    needs: FEATURE.word | FEATURE.run,
    find(subject, found) {
      const chosen = new Set((subject.features & FEATURE.run) === 0 ? [] : byRun)
      for (const word of subject.words) for (const rule of byWord.get(word) ?? []) chosen.add(rule)
      for (const rule of chosen) apply(rule, allow, subject.text, found)
    },
  }
}

/** Two letters or `s.`: too common for a keyword. */
export function isWeak(keyword: string): boolean {
  return keyword.length <= SHORTEST_KEYWORD && !keyword.includes('~')
}

function apply(rule: SecretRule, allow: Allow, text: string, found: Finding[]): void {
  for (const match of text.matchAll(rule.pattern)) {
    const secret = secretOf(match, rule.group)
    if (entropy(secret) <= rule.entropy && rule.entropy > 0) continue
    if (rule.id === 'generic-api-key' && !/\d/.test(secret)) continue
    if (rule.near !== undefined && !isNear(text, match.index, rule.near)) continue
    if (secret.endsWith('...')) continue
    const named = nameBefore(text, match.index) + match[0]
    if (isAllowed(allow, secret, named) || rule.allow.some((each) => isAllowed(each, secret, named))) continue
    const start = match.index + Math.max(0, match[0].indexOf(secret))
    found.push({ start, end: start + secret.length, type: 'secret' })
  }
}

/** The name that the rules' expressions begin with: up to 50 characters, left out of them (`translate.mjs`). */
function nameBefore(text: string, at: number): string {
  let start = at
  while (start > 0 && at - start < 50 && /[\w.-]/.test(text[start - 1]!)) start--
  return text.slice(start, at)
}

/** The given group, else the first that is not empty, else all. */
function secretOf(match: RegExpMatchArray, group: number | undefined): string {
  if (group !== undefined) return match[group] || match[0]
  for (let i = 1; i < match.length; i++) if (match[i]) return match[i]!
  return match[0]
}

function isNear(text: string, at: number, [word, distance]: readonly [string, number]): boolean {
  return text
    .slice(Math.max(0, at - distance), at)
    .toLowerCase()
    .includes(word)
}

function isAllowed(allow: Allow, secret: string, match: string): boolean {
  const target = allow.onMatch ? match : secret
  const byPattern = allow.patterns.some((pattern) => pattern.test(target))
  const byWord = allow.stopwords !== undefined && allow.stopwords.scan(secret).length > 0
  return allow.all ? byPattern && (allow.stopwords === undefined || byWord) : byPattern || byWord
}
