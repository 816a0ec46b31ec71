import { createHash } from 'node:crypto'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { textsOf, type Source } from '../processors/validators/prompt-injection/messages.ts'
import type { Origin } from '../processors/validators/text/injection.ts'

/**
 * The texts by which the detection of prompt injection is fitted (scripts/injection.mjs) and measured (bench/accuracy.ts):
 * of `../shared/data`, and our own in `processors/validators/prompt-injection/testdata`.
 */
export interface Sample {
  readonly set: string
  readonly isAttack: boolean
  readonly origins: readonly Origin[]
  /** 0 is fitted on, 1 is held out; samples of one template, task or trace are in the same half. */
  readonly half: 0 | 1
  readonly text: string
}

type Add = (set: string, group: string, text: unknown) => void

const SETS: Readonly<Record<string, readonly [isAttack: boolean, ...Origin[]]>> = {
  'tau-bench user turns': [false, 'direct', 'indirect'],
  'tau-bench tool results': [false, 'indirect'],
  'tau-bench answers': [false, 'direct', 'indirect'],
  'presidio sentences': [false, 'direct', 'indirect'],
  'framework traces, user': [false, 'direct'],
  'framework traces, tools and answers': [false, 'indirect'],
  'coding agent, user turns': [false, 'direct', 'indirect'],
  'own harmless, user': [false, 'direct'],
  'own harmless, documents': [false, 'indirect'],
  'in-the-wild jailbreaks': [true, 'direct', 'indirect'],
  'own attacks, user': [true, 'direct', 'indirect'],
  'BIPIA text attacks': [true, 'indirect'],
  'BIPIA code attacks': [true, 'indirect'],
  'own attacks, documents': [true, 'indirect'],
}

/** Empty when the shared data is absent. */
export function samplesOf(data: string): Sample[] {
  const samples: Sample[] = []
  const add: Add = (set, group, text) => {
    const [isAttack, ...origins] = SETS[set] ?? [false]
    if (typeof text !== 'string' || text.trim() === '') return
    samples.push({ set, isAttack, origins, half: halfOf(set + group), text })
  }
  if (!existsSync(`${data}/injection`)) return samples
  attacks(data, add)
  harmless(data, add)
  traces(data, add)
  own(add)
  return samples
}

/** Attacks of a file: BIPIA's categories of texts, or a list of texts. */
export function attacksOf(path: string): string[] {
  const content = read(path) as Readonly<Record<string, readonly string[]>> | readonly string[]
  return Array.isArray(content) ? content : Object.values(content).flat()
}

function halfOf(group: string): 0 | 1 {
  return createHash('sha256').update(group).digest()[0]! % 2 === 0 ? 0 : 1
}

function read(path: string): unknown {
  const raw = readFileSync(path)
  return JSON.parse((path.endsWith('.gz') ? gunzipSync(raw) : raw).toString('utf8'))
}

/** Variants of one jailbreak begin alike; BIPIA's categories are templates. */
function attacks(data: string, add: Add): void {
  for (const text of attacksOf(`${data}/injection/inthewild-jailbreaks.json.gz`))
    add(
      'in-the-wild jailbreaks',
      text
        .toLowerCase()
        .replace(/[^a-z]/g, '')
        .slice(0, 25),
      text,
    )
  for (const kind of ['text', 'code']) {
    const path = `${data}/injection/bipia_${kind}_attack_train.json.gz`
    for (const [category, texts] of Object.entries(read(path) as Record<string, string[]>))
      for (const text of texts) add(`BIPIA ${kind} attacks`, category, text)
  }
}

interface Sentence {
  readonly full_text: string
  readonly template_id: number
}
interface Run {
  readonly task_id: number
  readonly traj: readonly { readonly role: string; readonly content: unknown }[]
}
const TAU: Readonly<Record<string, string>> = {
  user: 'user turns',
  tool: 'tool results',
  assistant: 'answers',
}

function harmless(data: string, add: Add): void {
  for (const { full_text: text, template_id: template } of read(
    `${data}/pii/presidio-synth.json.gz`,
  ) as Sentence[])
    add('presidio sentences', String(template), text)
  for (const run of read(`${data}/traces/tau-bench/gpt-4o-airline.json.gz`) as Run[])
    for (const { role, content } of run.traj)
      if (TAU[role] !== undefined) add(`tau-bench ${TAU[role]}`, String(run.task_id), content)
}

const SHORTEST = 20

function traces(data: string, add: Add): void {
  for (const name of readdirSync(`${data}/traces/framework`)) {
    const seen = new Set<string>()
    const each = (text: string, source: Source): void => {
      if (text.length < SHORTEST || seen.has(source + text)) return
      seen.add(source + text)
      add(source === 'user' ? 'framework traces, user' : 'framework traces, tools and answers', name, text)
    }
    observed(read(`${data}/traces/framework/${name}`), each)
  }
  for (const name of readdirSync(`${data}/traces/swe-agent`)) {
    const { history } = read(`${data}/traces/swe-agent/${name}`) as {
      history?: { role: string; content: unknown }[]
    }
    const turns = (history ?? []).filter(({ role }) => role === 'user')
    for (const text of new Set(turns.map(({ content }) => content)))
      add('coding agent, user turns', name, text)
  }
}

/** What stands in `input` and `output` of Langfuse's observations. */
function observed(value: unknown, each: (text: string, source: Source) => void): void {
  if (Array.isArray(value)) return value.forEach((item) => observed(item, each))
  if (typeof value !== 'object' || value === null) return
  for (const [key, item] of Object.entries(value)) {
    if (key !== 'input' && key !== 'output') observed(item, each)
    else if (item !== null)
      textsOf(typeof item === 'string' ? item : JSON.stringify(item), key === 'input' ? 'user' : 'tool', each)
  }
}

const OWN: readonly (readonly [file: string, set: string])[] = [
  ['benign-user', 'own harmless, user'],
  ['benign-document', 'own harmless, documents'],
  ['attack-user', 'own attacks, user'],
  ['attack-document', 'own attacks, documents'],
]

function own(add: Add): void {
  for (const [file, set] of OWN) {
    const path = `processors/validators/prompt-injection/testdata/${file}.txt`
    for (const line of readFileSync(path, 'utf8').split('\n')) add(set, line, line)
  }
}
