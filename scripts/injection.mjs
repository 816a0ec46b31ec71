// Fits processors/validators/text/weights.json: `npm run build && node scripts/injection.mjs [../shared/data]`, from the
// repository's root. Logistic regression with weights ≥ 0 over the signals met in the strongest window of each text,
// pulled towards a small prior; every set counts alike. The figures that it prints are of weights fitted on one half
// of the templates and tried on the other, both ways; what is written is then fitted on all.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { samplesOf } from '../dist/bench/injection-samples.js'
import { Matcher } from '../dist/processors/validators/text/matcher.js'
import { ALL, DIRECT } from '../dist/processors/validators/text/signals.js'
import { valueOf } from '../dist/processors/validators/text/injection.js'
import { Words } from '../dist/processors/validators/text/words.js'

const ROUNDS = 8
const STEPS = 150
const RATE = 0.3
const PULL = 0.003
/** By the number of steps: longer signals say more. */
const PRIOR = [0, 0.1, 0.5, 0.9, 1]
/** A harmless text that is called an attack costs this many attacks that are missed. */
const CAUTION = 2
/** Share of a set's harmless texts that may be at or above the threshold, before the margin. */
const MOST_FALSE = 0.005
const FEWEST = 200
/** What a tool returns is of more kinds than what is at hand to fit on. */
const MARGIN = { direct: 1.1, indirect: 1.3 }
const WEIGHT = {
  'in-the-wild jailbreaks': 1.5,
  'presidio sentences': 0.6,
  'own harmless, user': 2,
  'own harmless, documents': 2,
}

const data = process.argv[2] ?? '../shared/data'
const words = new Words()

/** The signals' values in each window of the text. */
function windowsOf(matcher, text) {
  const bytes = Buffer.from(text)
  words.scan(bytes, 0, bytes.length)
  matcher.match(words)
  const windows = [new Float64Array(matcher.signals.length)]
  matcher.eachWindow((from, end) => {
    const counts = new Uint16Array(matcher.signals.length)
    for (const signal of matcher.hits.subarray(from, end)) counts[signal]++
    windows.push(Float64Array.from(counts, valueOf))
  })
  return windows
}

function dot(weights, values) {
  let sum = 0
  for (let i = 0; i < values.length; i++) sum += values[i] * weights[i]
  return sum
}

function best(weights, windows) {
  let found = windows[0]
  let most = dot(weights, found)
  for (const window of windows) {
    const sum = dot(weights, window)
    if (sum > most) [most, found] = [sum, window]
  }
  return { sum: most, window: found }
}

/** Each sample's part in the loss: sets of a kind count alike. */
function parts(samples) {
  const sizes = new Map()
  for (const { set } of samples) sizes.set(set, (sizes.get(set) ?? 0) + 1)
  const shares = samples.map(({ set }) => (WEIGHT[set] ?? 1) / sizes.get(set))
  const total = { true: 0, false: 0 }
  samples.forEach(({ isAttack }, n) => (total[isAttack] += shares[n]))
  return samples.map(({ isAttack }, n) => (shares[n] / total[isAttack]) * (isAttack ? 1 : CAUTION))
}

function fit(signals, samples, margin) {
  const prior = signals.map(({ steps }) => PRIOR[steps.length])
  const weights = Float64Array.from(prior)
  let bias = -4
  const part = parts(samples)
  for (let round = 0; round < ROUNDS; round++) {
    const chosen = samples.map(({ windows }) => best(weights, windows).window)
    const squares = new Float64Array(signals.length + 1)
    for (let step = 0; step < STEPS; step++) {
      const gradient = Float64Array.from(weights, (weight, i) => PULL * (weight - prior[i]))
      let slope = 0
      samples.forEach(({ isAttack }, n) => {
        const error = (1 / (1 + Math.exp(-dot(weights, chosen[n]) - bias)) - (isAttack ? 1 : 0)) * part[n]
        slope += error
        const values = chosen[n]
        for (let i = 0; i < values.length; i++) gradient[i] += error * values[i]
      })
      gradient.forEach((slopeOfOne, i) => {
        squares[i] += slopeOfOne ** 2
        weights[i] = Math.max(0, weights[i] - (RATE * slopeOfOne) / Math.sqrt(squares[i] + 1e-12))
      })
      squares[signals.length] += slope ** 2
      bias -= (RATE * slope) / Math.sqrt(squares[signals.length] + 1e-12)
    }
  }
  return { weights, threshold: thresholdOf(weights, samples, margin) }
}

/** So that of no large harmless set more than MOST_FALSE are at it. */
function thresholdOf(weights, samples, margin) {
  let threshold = 0
  for (const name of new Set(samples.map(({ set }) => set))) {
    const sums = samples
      .filter(({ set, isAttack }) => set === name && !isAttack)
      .map(({ windows }) => best(weights, windows).sum)
    if (sums.length < FEWEST) continue
    threshold = Math.max(threshold, sums.toSorted((a, b) => b - a)[Math.floor(sums.length * MOST_FALSE)])
  }
  return threshold * margin
}

/** Texts about models and software: harmless, and full of the words that attacks use. Parts of them only. */
function pages() {
  const files = readdirSync('docs', { recursive: true })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name))
  const notes = join(data, '../notes')
  if (existsSync(notes)) files.push(...readdirSync(notes).map((name) => join(notes, name)))
  for (const name of readdirSync('node_modules')) files.push(join('node_modules', name, 'README.md'))
  const texts = files
    .filter((name) => existsSync(name))
    .flatMap((name) =>
      readFileSync(name, 'utf8')
        .split(/\n\n+/)
        .map((text) => ({ name, text })),
    )
  return texts
    .filter(({ text }) => text.length > 80 && text.length < 3000)
    .filter((_, n) => n % 3 === 0)
    .map(({ name, text }) => ({
      set: name.startsWith('node_modules') ? 'readmes' : 'pages',
      isAttack: false,
      origins: ['direct', 'indirect'],
      half: name.length % 2,
      text,
    }))
}

const samples = samplesOf(data)
if (samples.length === 0) {
  process.stderr.write(`${data} is not here\n`)
  process.exit(1)
}
samples.push(...pages())
const models = {}
const heldOut = {}
for (const [origin, signals] of [
  ['direct', DIRECT],
  ['indirect', ALL],
]) {
  const matcher = new Matcher(signals, words.lexicon)
  const own = samples
    .filter(({ origins }) => origins.includes(origin))
    .map((sample) => ({ ...sample, windows: windowsOf(matcher, sample.text) }))
  const tried = [0, 1].flatMap((half) => {
    const { weights, threshold } = fit(
      signals,
      own.filter((sample) => sample.half === half),
      MARGIN[origin],
    )
    return own
      .filter((sample) => sample.half !== half)
      .map(({ set, windows }) => ({ set, isFound: best(weights, windows).sum >= threshold }))
  })
  heldOut[origin] = Object.fromEntries(
    Array.from(new Set(tried.map(({ set }) => set)), (set) => {
      const all = tried.filter((each) => each.set === set)
      return [set, [all.filter(({ isFound }) => isFound).length, all.length]]
    }),
  )
  const { weights, threshold } = fit(signals, own, MARGIN[origin])
  const kept = signals
    .map(({ id }, i) => [id, Math.round(weights[i] * 1000) / 1000])
    .filter(([, weight]) => weight > 0)
  models[origin] = { threshold: Math.round(threshold * 1000) / 1000, weights: Object.fromEntries(kept) }
}
const target = fileURLToPath(new URL('../processors/validators/text/weights.json', import.meta.url))
const fitted = { date: new Date().toISOString().slice(0, 10), ...models, heldOut }
writeFileSync(target, `${JSON.stringify(fitted, null, 1)}\n`)
for (const [origin, sets] of Object.entries(heldOut)) {
  process.stdout.write(`${origin}, held out: found of all\n`)
  for (const [set, [found, all]] of Object.entries(sets))
    process.stdout.write(`  ${set.padEnd(38)}${found} of ${all}, ${((100 * found) / all).toFixed(1)} %\n`)
}
