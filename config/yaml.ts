import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument, type YAMLError } from 'yaml'
import type { Alias, Node as YamlNode, Pair, Scalar, YAMLMap, YAMLSeq } from 'yaml'
import type { Entry, ListNode, MapNode, Node, Origin, ScalarNode } from './node.ts'
import { configError, type ConfigError } from './problem.ts'
import { quoted } from '../pipeline/input/suggest.ts'
import { LIMITS, overLimit } from './yaml-limits.ts'

const MAX_KEY = 1024

/** What is known while one text is read. */
interface Reading {
  readonly file: string
  readonly lines: LineCounter
  readonly errors: ConfigError[]
  readonly anchors: Map<string, YamlNode>
  aliases: number
}

/** YAML 1.2 text → nodes with positions. Errors go to `errors`; undefined when nothing usable is left. */
export function readYaml(text: string, file: string, errors: ConfigError[]): Node | undefined {
  const lines = new LineCounter()
  const before = errors.length
  const reading: Reading = { file, lines, errors, anchors: new Map(), aliases: 0 }
  const limit = overLimit(text)
  if (limit !== undefined) {
    for (let at = text.indexOf('\n'); at >= 0 && at < limit.offset; at = text.indexOf('\n', at + 1)) {
      lines.addNewLine(at + 1)
    }
    errors.push(configError(originAt(reading, limit.offset), [], limit.message))
    return undefined
  }
  const document = parseDocument(text, {
    // Checked below: the library's own check is quadratic in the keys of a map.
    uniqueKeys: false,
    prettyErrors: false,
    lineCounter: lines,
    // 'silent' would also hide a second document.
    logLevel: 'error',
  })
  // The first only: what follows a syntax error is mostly its echo.
  const [error] = [...document.errors, ...document.warnings]
  if (error !== undefined) {
    errors.push(configError(originAt(reading, error.pos[0]), [], syntaxMessage(error, text)))
  }
  if (errors.length > before) return undefined
  const node = convert(document.contents, reading)
  return errors.length > before ? undefined : node
}

function originAt(reading: Reading, offset: number): Origin {
  const { line, col } = reading.lines.linePos(offset)
  // Without a newline before it the counter has no first line.
  return { file: reading.file, line: Math.max(line, 1), col: line === 0 ? offset + 1 : col }
}

function originOf(node: YamlNode | null, reading: Reading): Origin {
  return originAt(reading, node?.range?.[0] ?? 0)
}

function syntaxMessage(error: YAMLError, text: string): string {
  if (error.code === 'MULTIPLE_DOCS') return 'one file holds one YAML document; a second one starts here'
  if (error.code === 'TAG_RESOLVE_FAILED') return `YAML tags are not supported: ${error.message}`
  const start = text.lastIndexOf('\n', error.pos[0] - 1) + 1
  const end = text.indexOf('\n', error.pos[0])
  const line = text.slice(start, end < 0 ? undefined : end)
  const hint = /[[{,].*\$\{/.test(line) ? ' (inside { } or [ ] a reference needs quotes: "${env:X}")' : ''
  return `not valid YAML: ${error.message}${hint}`
}

function convert(node: unknown, reading: Reading): Node {
  if (isScalar(node)) return scalar(node, reading)
  if (isMap(node)) return map(anchored(node, reading), reading)
  if (isSeq(node)) return list(anchored(node, reading), reading)
  if (isAlias(node)) return alias(node, reading)
  return { kind: 'scalar', origin: { file: reading.file, line: 1, col: 1 }, value: null }
}

function anchored<T extends YamlNode>(node: T, reading: Reading): T {
  if ('anchor' in node && node.anchor !== undefined) reading.anchors.set(node.anchor, node)
  return node
}

function scalar(node: Scalar, reading: Reading): ScalarNode {
  anchored(node, reading)
  const origin = originOf(node, reading)
  const { value } = node
  if (typeof value === 'number' && !Number.isFinite(value)) {
    reading.errors.push(configError(origin, [], `${node.source ?? value} is not a finite number`))
  }
  const isPlain = value === null || ['string', 'number', 'boolean'].includes(typeof value)
  return { kind: 'scalar', origin, value: isPlain ? (value as ScalarNode['value']) : (node.source ?? '') }
}

function list(node: YAMLSeq, reading: Reading): ListNode {
  return {
    kind: 'list',
    origin: originOf(node, reading),
    items: node.items.map((item) => convert(item, reading)),
  }
}

function map(node: YAMLMap, reading: Reading): MapNode {
  const entries = new Map<string, Entry>()
  for (const pair of node.items) addPair(pair, entries, reading)
  return { kind: 'map', origin: originOf(node, reading), entries }
}

function addPair(pair: Pair, entries: Map<string, Entry>, reading: Reading): void {
  const key = pair.key as YamlNode | null
  const origin = originOf(key, reading)
  const refuse = (message: string): unknown => reading.errors.push(configError(origin, [], message))
  if (!isScalar(key) || key.value === null) return void refuse('a key must be plain text')
  const name = typeof key.value === 'string' ? key.value : (key.source ?? '')
  if (name === '<<')
    return void refuse('merge keys (<<) are not supported; put shared parts into a second --config')
  // No component has such a key, and as a property name it would change an object's prototype.
  if (name === '__proto__') return void refuse('"__proto__" cannot be a key')
  if (name.length > MAX_KEY) return void refuse(`a key is longer than ${MAX_KEY} characters`)
  const first = entries.get(name)
  if (first !== undefined) {
    return void refuse(`duplicate key ${quoted(name)}; it stands first in line ${first.origin.line}`)
  }
  const node: Node =
    pair.value === null ? { kind: 'scalar', origin, value: null } : convert(pair.value, reading)
  entries.set(name, { origin, node })
}

/** An alias becomes a copy of what it names; counted, so that aliases of aliases cannot multiply. */
function alias(node: Alias, reading: Reading): Node {
  const origin = originOf(node, reading)
  const target = reading.anchors.get(node.source)
  reading.aliases++
  if (target === undefined) {
    reading.errors.push(configError(origin, [], `the alias *${node.source} has no anchor before it`))
  } else if (reading.aliases === LIMITS.aliases + 1) {
    reading.errors.push(
      configError(origin, [], `more than ${LIMITS.aliases} aliases, those inside of aliases included`),
    )
  } else if (reading.aliases <= LIMITS.aliases) {
    return { ...convert(target, reading), origin }
  }
  return { kind: 'scalar', origin, value: null }
}
