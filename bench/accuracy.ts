import { existsSync, readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { createDetectors } from '../processors/sanitizer/detect/registry.ts'
import { SensitiveKeys, sensitiveWords } from '../processors/sanitizer/keys.ts'
import { Policy } from '../processors/sanitizer/policy.ts'
import { Scrubber } from '../processors/sanitizer/text/scrubber.ts'

/**
 * How well the sanitizer's detectors find what they are for: `npm run accuracy [-- --misses] [-- --pii FILE --secrets FILE]`.
 * `npm run accuracy -- cost` and `-- injection` are other commands: accuracy-cost.ts, accuracy-injection.ts.
 *
 * Per entity type of the sentences of presidio-research: a labelled span is found when findings of its type cover it;
 * a finding is right when it overlaps a span of its type. Per secret: found when any secret is found in a true positive,
 * false when one is found in a string that gitleaks' authors call a false positive. Values of sensitive names in running
 * text (`apiKey: …`) are counted apart: weir replaces them whatever they look like.
 */
const DATA = '../shared/data'
const TYPE_OF: Readonly<Record<string, string>> = {
  EMAIL_ADDRESS: 'email',
  CREDIT_CARD: 'card',
  IBAN_CODE: 'iban',
  IP_ADDRESS: 'ip',
  US_SSN: 'ssn',
  PHONE_NUMBER: 'phone',
}
const SECRET_TYPES = new Set(['secret', 'jwt', 'private_key', 'url_credentials'])

interface Sentence {
  readonly full_text: string
  readonly spans: readonly { entity_type: string; start_position: number; end_position: number }[]
}

interface SecretText {
  readonly rule: string
  readonly kind: 'tp' | 'fp'
  readonly text: string
}

interface Score {
  labelled: number
  found: number
  right: number
  wrong: number
}

const keys = new SensitiveKeys()
const scrubber = new Scrubber(createDetectors(keys, [], sensitiveWords([])), keys)
const policy = new Policy('mask', {}, Buffer.alloc(0))
const showMisses = process.argv.includes('--misses')

function option(name: string, fallback: string): string {
  const at = process.argv.indexOf(name)
  return at < 0 ? fallback : (process.argv[at + 1] ?? fallback)
}

function read(path: string): unknown {
  if (!existsSync(path)) {
    process.stderr.write(`${path} is not here: give the file by --pii or --secrets\n`)
    process.exit(1)
  }
  const raw = readFileSync(path)
  return JSON.parse((path.endsWith('.gz') ? gunzipSync(raw) : raw).toString('utf8'))
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

function personal(sentences: readonly Sentence[]): Map<string, Score> {
  const scores = new Map(
    Object.values(TYPE_OF).map((type): [string, Score] => [
      type,
      { labelled: 0, found: 0, right: 0, wrong: 0 },
    ]),
  )
  for (const { full_text: text, spans } of sentences) {
    const findings = scrubber.findings(text, policy)
    for (const [type, score] of scores) {
      const wanted = spans.filter((span) => TYPE_OF[span.entity_type] === type)
      const got = findings.filter((finding) => finding.type === type)
      for (const span of wanted) {
        score.labelled++
        const isFound = got.some((f) => f.start <= span.start_position && f.end >= span.end_position)
        if (isFound) score.found++
        else if (showMisses)
          say(
            `miss  ${type}: ${text.slice(span.start_position, span.end_position)} | ${text.slice(Math.max(0, span.start_position - 40), span.end_position + 15)}`,
          )
      }
      for (const finding of got) {
        const isRight = wanted.some((s) => s.start_position < finding.end && s.end_position > finding.start)
        if (isRight) score.right++
        else {
          score.wrong++
          if (showMisses)
            say(
              `wrong ${type}: ${text.slice(finding.start, finding.end)} | ${text.slice(Math.max(0, finding.start - 40), finding.end + 15)}`,
            )
        }
      }
    }
  }
  return scores
}

function percent(part: number, whole: number): string {
  return whole === 0 ? '–' : (part / whole).toFixed(3)
}

function main(): void {
  const sentences = read(option('--pii', `${DATA}/pii/presidio-synth.json.gz`)) as readonly Sentence[]
  say('entity        labelled  precision  recall  F1')
  for (const [type, { labelled, found, right, wrong }] of personal(sentences)) {
    const precision = right / (right + wrong)
    const recall = found / labelled
    const f1 = (2 * precision * recall) / (precision + recall)
    say(
      `${type.padEnd(14)}${String(labelled).padStart(8)}${percent(right, right + wrong).padStart(11)}${percent(found, labelled).padStart(8)}  ${f1.toFixed(3)}`,
    )
  }
  const texts = read(option('--secrets', `${DATA}/secrets/secret-strings.json.gz`)) as readonly SecretText[]
  const positives = texts.filter(({ kind }) => kind === 'tp')
  const negatives = texts.filter(({ kind }) => kind === 'fp')
  const isSecret = ({ text }: SecretText): boolean =>
    scrubber.findings(text, policy).some(({ type }) => SECRET_TYPES.has(type))
  const missed = positives.filter((each) => !isSecret(each))
  const wrong = negatives.filter(isSecret)
  say(
    `\nsecrets: recall ${percent(positives.length - missed.length, positives.length)} of ${positives.length}, false positives ${percent(wrong.length, negatives.length)} of ${negatives.length}`,
  )
  const named = negatives.filter(
    (each) =>
      !isSecret(each) && scrubber.findings(each.text, policy).some(({ type }) => type === 'sensitive_key'),
  )
  say(`of the others ${named.length} are replaced for the name they stand under`)
  if (!showMisses) return
  for (const { text } of named) say(`named ${text.slice(0, 160)}`)
  for (const { rule, text } of missed) say(`miss  ${rule}: ${text.slice(0, 200)}`)
  for (const { rule, text } of wrong) {
    const found = scrubber.findings(text, policy).filter(({ type }) => SECRET_TYPES.has(type))
    say(
      `wrong ${rule}: ${found.map((f) => `${f.type}=${text.slice(f.start, f.end)}`).join(' ')} | ${text.slice(0, 160)}`,
    )
  }
}

if (process.argv[2] === 'cost') await import('./accuracy-cost.ts')
else if (process.argv[2] === 'injection') await import('./accuracy-injection.ts')
else main()
