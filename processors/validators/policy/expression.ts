import { createRequire } from 'node:module'
import type * as Cel from '@marcbachmann/cel-js'
import type { ASTNode, Context, Environment } from '@marcbachmann/cel-js'
import { isLinear } from '../../../pipeline/linear-regexp.ts'
import { messageOf } from '../../../pipeline/fault.ts'

/** What the variables of a scope hold by name; `*`: any key. */
const VARIABLES = {
  span: {
    span: [
      'name',
      'status',
      'status_message',
      'duration_ms',
      'bytes',
      'operation',
      'provider',
      'model',
      'agent',
      'tool',
      'user',
      'session',
      'input_tokens',
      'output_tokens',
    ],
    attributes: '*',
    resource: '*',
  },
  run: {
    run: ['agent', 'status', 'spans', 'errors', 'duration_ms', 'steps', 'actions'],
  },
} as const

export type Scope = keyof typeof VARIABLES

/** A key that an expression reads: `attributes["http.status"]`. */
export interface Reference {
  readonly variable: string
  readonly key: string
  /** Where it is absent the expression is never true. */
  readonly isNeeded: boolean
}

export type Compiled =
  | { readonly problem: string }
  | {
      readonly problem?: undefined
      readonly references: readonly Reference[]
      /** False also where it cannot be told, since something is absent or of another type. */
      readonly test: (variables: Context) => boolean
    }

/** One evaluation costs at most about this many steps over texts and lists of bounded size: no loop stands in a loop. */
const MOST_NODES = 300
const MOST_DEPTH = 40

/** Made by the first rule: most configs have none, and schemas, which compile them, cannot wait for an import. */
let environments: Readonly<Record<Scope, Environment>> | undefined

function environmentOf(scope: Scope): Environment {
  environments ??= environmentsOf(createRequire(import.meta.url)('@marcbachmann/cel-js') as typeof Cel)
  return environments[scope]
}

function environmentsOf({ Environment }: typeof Cel): Readonly<Record<Scope, Environment>> {
  const limits = { maxAstNodes: MOST_NODES, maxDepth: MOST_DEPTH }
  return {
    span: new Environment({ limits })
      .registerVariable('span', 'map')
      .registerVariable('attributes', 'map')
      .registerVariable('resource', 'map'),
    run: new Environment({ limits }).registerVariable('run', 'map'),
  }
}

export function compile(text: string, scope: Scope): Compiled {
  try {
    const parsed = environmentOf(scope).parse(text)
    const { valid, type, error } = parsed.check()
    if (!valid) return { problem: firstLine(error) }
    if (type !== 'bool' && type !== 'dyn') return { problem: `is a ${String(type)}, must be true or false` }
    const walk = new Walk(scope)
    walk.visit(parsed.ast, true, 0, true)
    return { references: walk.references(), test: (variables) => holds(parsed, variables) }
  } catch (error) {
    return { problem: firstLine(error) }
  }
}

function holds(expression: (context: Context) => unknown, variables: Context): boolean {
  try {
    return expression(variables) === true
  } catch {
    return false
  }
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : messageOf(error)).split('\n', 1)[0] ?? ''
}

/** Methods that make lists of any length of a text. */
const UNBOUNDED: ReadonlySet<string> = new Set(['split', 'json'])
const MACROS: ReadonlySet<string> = new Set(['all', 'exists', 'exists_one', 'map', 'filter', 'bind'])

/** Finds what an expression reads, and what it may not do. Throws an Error that says so. */
class Walk {
  readonly #variables: Readonly<Record<string, '*' | readonly string[]>>
  readonly #found = new Map<string, Reference>()
  #hasLoop = false
  #unbounded: string | undefined

  constructor(scope: Scope) {
    this.#variables = VARIABLES[scope]
  }

  references(): readonly Reference[] {
    return [...this.#found.values()]
  }

  /**
   * `isNeeded`: where this part fails, the whole is not true. `loops`: macros around it. `mustHold`: where it is false, too: a
   * `&&` elsewhere may be false, and known to be, though one of its sides fails.
   */
  visit(node: ASTNode, isNeeded: boolean, loops: number, mustHold = false): void {
    const key = this.#keyOf(node)
    if (key !== undefined) return this.#add(key[0], key[1], isNeeded)
    const { op, args } = node
    if (op === 'value') return
    if (op === 'id') return this.#bare(args)
    if (op === 'in') return this.#in(args, isNeeded, loops)
    if (op === 'call') return this.#all(args[1], isNeeded && args[0] !== 'has', loops)
    if (op === 'rcall') return this.#method(args, isNeeded, loops)
    if (op === '.' || op === '.?') return this.visit(args[0], isNeeded, loops)
    if (op === '!_' || op === '-_') return this.visit(args, isNeeded, loops)
    if (op === 'map') return this.#all(args.flat(), isNeeded, loops)
    if (op === '&&') for (const side of args) this.visit(side, isNeeded && mustHold, loops, mustHold)
    if (op === '&&') return
    if (op === '||') return this.#all(args, false, loops)
    if (op !== '?:') return this.#all(args, isNeeded, loops)
    this.visit(args[0], isNeeded, loops)
    this.#all(args.slice(1), false, loops)
  }

  #bare(name: string): void {
    if (Object.hasOwn(this.#variables, name)) throw new Error(`${name} is read by key: ${name}["name"]`)
  }

  #all(nodes: readonly ASTNode[], isNeeded: boolean, loops: number): void {
    for (const node of nodes) this.visit(node, isNeeded, loops)
  }

  /** `"key" in attributes` reads a key, and absence is an answer. */
  #in([left, right]: readonly [ASTNode, ASTNode], isNeeded: boolean, loops: number): void {
    const isVariable = right.op === 'id' && Object.hasOwn(this.#variables, right.args)
    if (!isVariable) return this.#all([left, right], isNeeded, loops)
    if (left.op !== 'value' || typeof left.args !== 'string')
      throw new Error(`what is looked for in ${right.args} must be a text`)
    this.#add(right.args, left.args, false)
  }

  #method([name, receiver, args]: readonly [string, ASTNode, ASTNode[]], isNeeded: boolean, loops: number) {
    const isLoop = MACROS.has(name)
    if (isLoop && loops > 0) throw new Error(`${name} stands within another loop, which may be too slow`)
    this.#hasLoop ||= isLoop
    this.#unbounded ??= UNBOUNDED.has(name) ? name : undefined
    if (this.#hasLoop && this.#unbounded !== undefined)
      throw new Error(`${this.#unbounded} and a loop stand in the same rule, which may be too slow`)
    if (name === 'matches') linear(args[0])
    this.visit(receiver, isNeeded, loops)
    this.#all(args, isNeeded && !isLoop, loops + (isLoop ? 1 : 0))
  }

  #keyOf(node: ASTNode): readonly [variable: string, key: string] | undefined {
    if (node.op !== '.' && node.op !== '[]') return undefined
    const [object, member] = node.args
    if (object.op !== 'id' || !Object.hasOwn(this.#variables, object.args)) {
      const outer = this.#keyOf(object)
      if (typeof member === 'string' && outer !== undefined && this.#variables[outer[0]] === '*')
        throw new Error(`keys of ${outer[0]} may hold dots: write ${outer[0]}["${outer[1]}.${member}"]`)
      return undefined
    }
    if (typeof member === 'string') return [object.args, member]
    if (member.op === 'value' && typeof member.args === 'string') return [object.args, member.args]
    throw new Error(`a key of ${object.args} must be a text`)
  }

  #add(variable: string, key: string, isNeeded: boolean): void {
    const fields = this.#variables[variable]
    if (fields !== undefined && fields !== '*' && !fields.includes(key))
      throw new Error(`${variable} has no ${key}; it has ${fields.join(', ')}`)
    const id = `${variable}\0${key}`
    const before = this.#found.get(id)
    this.#found.set(id, { variable, key, isNeeded: isNeeded || before?.isNeeded === true })
  }
}

function linear(pattern: ASTNode | undefined): void {
  if (pattern?.op === 'value' && typeof pattern.args === 'string' && isLinear(pattern.args)) return
  throw new Error(
    'the pattern of matches must be a text that runs in linear time: no look-around, back-references, counts over 100',
  )
}
