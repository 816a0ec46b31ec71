import { isAllowedFunction, isAllowedTableFunction } from './functions.ts'
import { refuse } from './refuse.ts'

/** Nodes of a plain SELECT. Everything else (Set, Explain, InsertQuery, ColumnsApplyTransformer, …) is refused. */
const NODES: ReadonlySet<string> = new Set([
  'SelectWithUnionQuery',
  'SelectIntersectExceptQuery',
  'SelectQuery',
  'ExpressionList',
  'WithElement',
  'Subquery',
  'Literal',
  'Identifier',
  'Function',
  'Asterisk',
  'QualifiedAsterisk',
  'ColumnsListMatcher',
  'ColumnsRegexpMatcher',
  'QualifiedColumnsListMatcher',
  'QualifiedColumnsRegexpMatcher',
  'ColumnsTransformerList',
  'ColumnsExceptTransformer',
  'ColumnsReplaceTransformer',
  'ColumnsReplaceTransformer::Replacement',
  'TablesInSelectQuery',
  'TablesInSelectQueryElement',
  'TableExpression',
  'TableIdentifier',
  'TableJoin',
  'ArrayJoin',
  'SampleRatio',
  'WindowDefinition',
  'WindowListElement',
  'OrderByElement',
  'InterpolateElement',
])

const IN_FUNCTION = /^(?:global)?(?:not)?(?:null)?in(?:ignoreset)?$|^(?:global)?notnullin(?:ignoreset)?$/i
const FOREIGN = /^(?:system|information_schema)\./i
/** A literal type with a state inside: bytes of one can be made up, and reading them is not hardened in ClickHouse. */
const STATE_TYPE = /AggregateFunction\s*\(/i

interface Node {
  readonly depth: number
  readonly type: string
  /** What is named, without alias and count. */
  readonly name: string
  readonly parent: Node | undefined
  readonly children: Node[]
}

/** The second layer: the parsed form, line by line as `EXPLAIN AST` prints it. */
export function checkAst(lines: readonly string[], database: string): void {
  const nodes = readTree(lines)
  const [root] = nodes
  if (root?.type !== 'SelectWithUnionQuery' || nodes.some((node) => node.depth === 0 && node !== root)) {
    throw refuse('it is not one SELECT')
  }
  for (const node of nodes) checkNode(node, database)
}

function checkNode(node: Node, database: string): void {
  if (!NODES.has(node.type)) throw refuse(`${WORDS[node.type] ?? node.type} is not allowed`)
  switch (node.type) {
    case 'TableIdentifier':
      return checkTable(node.name, database)
    case 'Function':
      return node.parent?.type === 'TableExpression'
        ? checkTableFunction(node)
        : checkFunction(node, database)
    case 'Identifier':
      if (FOREIGN.test(node.name)) throw refuse(`${node.name} is not in weir's database`)
      return
    case 'Literal':
      if (STATE_TYPE.test(node.name)) throw refuse('aggregate states may not be cast from bytes')
      return
    default:
  }
}

const WORDS: Readonly<Record<string, string>> = { Set: 'SETTINGS', ColumnsApplyTransformer: 'APPLY' }

function checkTable(name: string, database: string): void {
  const [first = '', second, ...more] = name.split('.')
  // What the analyzer puts where there is no FROM; written by a user it does not pass the first layer.
  if (name === 'system.one') return
  if (second === undefined || (first === database && more.length === 0)) return
  throw refuse(`the table ${name} is not in weir's database ${database}`)
}

function checkTableFunction(node: Node): void {
  if (!isAllowedTableFunction(node.name)) throw refuse(`the table function ${node.name} is not allowed`)
}

/** `x IN name` reads the table of that name: ClickHouse prints it as an identifier. */
function checkFunction(node: Node, database: string): void {
  if (!isAllowedFunction(node.name)) throw refuse(`the function ${node.name} is not allowed`)
  if (!IN_FUNCTION.test(node.name)) return
  const set = node.children[0]?.children[1]
  if (set?.type === 'Identifier') checkTable(set.name, database)
}

const LINE = /^( *)(\S+)(?: (.*?))??(?: \(alias .*\))?(?: \(children \d+\))?$/

function readTree(lines: readonly string[]): readonly Node[] {
  const nodes: Node[] = []
  const path: Node[] = []
  for (const line of lines) {
    if (line.trim() === '') continue
    const [, indent = '', type = '', name = ''] = LINE.exec(line) ?? []
    const depth = indent.length
    const parent = depth === 0 ? undefined : path[depth - 1]
    if (type === '' || (depth > 0 && parent === undefined)) throw refuse('its parsed form is not understood')
    const node: Node = { depth, type, name, parent, children: [] }
    parent?.children.push(node)
    path.length = depth
    path.push(node)
    nodes.push(node)
  }
  return nodes
}
