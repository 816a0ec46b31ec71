import { parseArgs } from 'node:util'
import { UsageError, type Io, type Verb } from '../verb.ts'
import { PORT_FLAGS, PORT_HELP, withPort, type Ask, type PortFlags } from './port.ts'
import { printOne, printRows, type Row } from './print.ts'

interface Thing {
  /** `tenant`; its routes are at `…/tenants`. */
  readonly name: 'tenant' | 'project' | 'agent'
  readonly columns: readonly string[]
  /** Lines for the help on what belongs to `create` and `set`. */
  readonly fields: string
  readonly examples: string
}

const FLAGS = {
  ...PORT_FLAGS,
  tenant: { type: 'string' },
  name: { type: 'string' },
  tier: { type: 'string' },
  limit: { type: 'string', multiple: true },
  'no-limits': { type: 'boolean', default: false },
  version: { type: 'string' },
  capability: { type: 'string', multiple: true },
} as const

interface Values extends PortFlags {
  readonly tenant?: string | undefined
  readonly name?: string | undefined
  readonly tier?: string | undefined
  readonly limit?: string[] | undefined
  readonly 'no-limits': boolean
  readonly version?: string | undefined
  readonly capability?: string[] | undefined
}

/** Which flags mean something, besides those of every verb. */
const OWN: Readonly<Record<Thing['name'], readonly (keyof Values)[]>> = {
  tenant: ['name', 'tier', 'limit', 'no-limits'],
  project: ['tenant', 'name', 'limit', 'no-limits'],
  agent: ['tenant', 'name', 'version', 'capability'],
}

/** The verbs for what keys belong to: the same actions on tenants, projects and agents. */
export function directoryVerb(thing: Thing): Verb {
  const { name } = thing
  const owner = name === 'tenant' ? '' : ' --tenant T'
  return {
    name,
    summary: `${name}s: create, ls, show, set, revoke, restore.`,
    help: `Usage: weir ${name} create ID${owner} [fields]
       weir ${name} ls${owner}
       weir ${name} show ID${owner}
       weir ${name} set ID${owner} [fields]
       weir ${name} revoke ID${owner}     disables it: its keys are refused everywhere within 5 s; nothing is deleted
       weir ${name} restore ID${owner}

${thing.fields}
${PORT_HELP}

Examples:
${thing.examples}
`,
    run: (argv, io) => run(thing, argv, io),
  }
}

async function run(thing: Thing, argv: readonly string[], io: Io): Promise<number> {
  const { values, positionals } = parseArgs({ args: [...argv], options: FLAGS, allowPositionals: true })
  const [action = '', id, ...more] = positionals
  if (more.length > 0) throw new UsageError(`one ${thing.name} at a time, not "${more[0]}" too`)
  checkFlags(thing.name, values)
  const path = pathOf(thing.name, values)
  const act = ACTIONS[action]
  if (act === undefined) {
    throw new UsageError(`say what to do: ${Object.keys(ACTIONS).join(', ')}`)
  }
  if (action === 'ls' && id !== undefined) throw new UsageError(`ls takes no id; use show ${id}`)
  if (action !== 'ls' && id === undefined) throw new UsageError(`${action} needs the id of a ${thing.name}`)
  return withPort(thing.name, values, io, (ask) => act({ ask, thing, values, io, path, id: id ?? '' }))
}

function checkFlags(name: Thing['name'], values: Values): void {
  const others = [...new Set(Object.values(OWN).flat())].filter((flag) => !OWN[name].includes(flag))
  const wrong = others.find((flag) => values[flag] !== undefined && values[flag] !== false)
  if (wrong !== undefined) throw new UsageError(`a ${name} has no --${wrong}`)
}

function pathOf(name: Thing['name'], { tenant }: Values): string {
  if (name === 'tenant') return '/v1/tenants'
  if (tenant === undefined) throw new UsageError(`a ${name} belongs to a tenant: give --tenant`)
  return `/v1/tenants/${encodeURIComponent(tenant)}/${name}s`
}

interface Order {
  readonly ask: Ask
  readonly thing: Thing
  readonly values: Values
  readonly io: Io
  readonly path: string
  readonly id: string
}

const ACTIONS: Readonly<Record<string, (order: Order) => Promise<void>>> = {
  async create(order) {
    const { ask, path, id } = order
    print(order, await ask('POST', path, { id, ...fieldsOf(order.values) }))
  },
  async ls({ ask, thing, values, io, path }) {
    const name = `${thing.name}s`
    const answer = await ask('GET', path)
    printRows(answer[name] as Row[], thing.columns, { name, json: values.json }, io)
  },
  async show(order) {
    print(order, await order.ask('GET', oneOf(order)))
  },
  async set(order) {
    const fields = fieldsOf(order.values)
    if (Object.keys(fields).length === 0) throw new UsageError('set needs something to change')
    print(order, await order.ask('PATCH', oneOf(order), fields))
  },
  async revoke(order) {
    print(order, await order.ask('PATCH', oneOf(order), { status: 'disabled' }))
  },
  async restore(order) {
    print(order, await order.ask('PATCH', oneOf(order), { status: 'active' }))
  },
}

function oneOf({ path, id }: Order): string {
  return `${path}/${encodeURIComponent(id)}`
}

function print({ thing, values, io }: Order, answer: Row): void {
  printOne(answer, thing.name, values.json, io)
}

function fieldsOf({ name, tier, limit, 'no-limits': noLimits, version, capability }: Values): Row {
  if (noLimits && limit !== undefined) throw new UsageError('give either --limit or --no-limits')
  const limits = noLimits ? null : limit && limitsOf(limit)
  const all = { name, tier, version, capabilities: capability, limits }
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined))
}

function limitsOf(pairs: readonly string[]): Record<string, number> {
  return Object.fromEntries(
    pairs.map((pair) => {
      const [, name = '', value = ''] = /^(\w+)=(\d+(?:\.\d+)?)$/.exec(pair) ?? []
      if (name === '') throw new UsageError(`--limit ${pair} is not name=number`)
      return [name, Number(value)]
    }),
  )
}
