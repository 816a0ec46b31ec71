import { z } from 'zod'
import { fingerprint } from '../canonical.ts'
import type { Step, StepKind } from '../steps.ts'
import { parsePath, Pruner, type JsonPath } from './json-path.ts'

/** What a comparison of runs leaves out. */

const KINDS = ['llm', 'tool', 'reasoning', 'output', 'error'] as const satisfies readonly StepKind[]

const path = z
  .string()
  .max(256)
  .refine(
    (text) => parsePath(text) !== undefined,
    "must be a JSONPath of names, indexes, * and .., such as $..request_id or $.items[*]['id']",
  )
const paths = z.array(path).max(64)

export const profileConfig = z.strictObject({
  ignore: paths
    .default([])
    .describe('JSONPaths that are left out of all inputs and outputs: `$..timestamp`, `$.items[*].id`.'),
  llm: z
    .strictObject({
      ignore: paths.default([]).describe('The same for requests and answers of models only.'),
    })
    .prefault({})
    .describe('Further rules for model calls.'),
  tools: z
    .record(
      z.string().min(1).max(256),
      z.strictObject({
        ignore: paths.default([]).describe('The same for arguments and results of this tool only.'),
      }),
    )
    .default({})
    .describe('Further rules for single tools, by name.'),
  kinds: z
    .array(z.enum(KINDS))
    .min(1)
    .default([...KINDS])
    .describe('Which steps are compared.'),
  results: z.boolean().default(true).describe('Whether results of tools are compared; arguments always are.'),
})

export type ProfileConfig = z.output<typeof profileConfig>

/** What changes from run to run and says nothing: ids and times that clients and servers make up. */
const VOLATILE = [
  '$..request_id',
  '$..requestId',
  '$..tool_call_id',
  '$..toolCallId',
  '$..call_id',
  '$..trace_id',
  '$..span_id',
  '$..stack_trace',
]
const VOLATILE_OF_MODELS = [
  '$..id',
  '$..created',
  '$..created_at',
  '$..timestamp',
  '$..system_fingerprint',
  '$..usage',
]

/** Named in every daemon; a profile of the config goes before one of its name. */
export const BUILT_IN: Readonly<Record<string, ProfileConfig>> = {
  default: profileConfig.parse({ ignore: VOLATILE, llm: { ignore: VOLATILE_OF_MODELS } }),
  strict: profileConfig.parse({}),
}

export class Profile {
  /** Of what it does: profiles of equal digests compare alike. */
  readonly digest: string
  readonly results: boolean
  readonly #kinds: ReadonlySet<StepKind>
  readonly #all: Pruner
  readonly #llm: Pruner
  readonly #tools: ReadonlyMap<string, Pruner>

  constructor(config: ProfileConfig) {
    this.digest = fingerprint(config)
    this.results = config.results
    this.#kinds = new Set(config.kinds)
    const pruner = (...lists: readonly (readonly string[])[]): Pruner =>
      new Pruner(lists.flat().flatMap(parsed))
    this.#all = pruner(config.ignore)
    this.#llm = pruner(config.ignore, config.llm.ignore)
    this.#tools = new Map(
      Object.entries(config.tools).map(([name, { ignore }]) => [name, pruner(config.ignore, ignore)]),
    )
  }

  compares({ kind }: Step): boolean {
    return this.#kinds.has(kind)
  }

  /** An input or output of the step without what is to be ignored. */
  of(step: Pick<Step, 'kind' | 'name'>, value: unknown): unknown {
    if (step.kind === 'llm') return this.#llm.prune(value)
    const own = step.kind === 'tool' ? this.#tools.get(step.name) : undefined
    return (own ?? this.#all).prune(value)
  }
}

function parsed(text: string): readonly JsonPath[] {
  const found = parsePath(text)
  return found === undefined ? [] : [found]
}
