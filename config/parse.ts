import type { Config, PipelineConfig } from '../pipeline/config.ts'
import type { Registry } from '../pipeline/factory.ts'
import { digestOf } from './canonical.ts'
import { parseComponents, type Parsed } from './components.ts'
import { conflicts } from './conflicts.ts'
import { problemsOf, type Problem } from '../pipeline/input/issues.ts'
import { inputSchema } from '../pipeline/input/json-schema.ts'
import { PARSED_ONCE, SECTIONS } from './sections.ts'
import { serviceSchema, toService, type ServiceInput } from './service.ts'
import { hint, quoted } from '../pipeline/input/suggest.ts'
import { checkWiring, graphOf } from './wiring.ts'

export interface Outcome {
  /** Undefined when there are problems. */
  readonly config: Config | undefined
  readonly problems: readonly Problem[]
  readonly notices: readonly Problem[]
}

/** A merged and expanded document → the effective config, or everything that is wrong with it. */
export function parseDocument(raw: unknown, registry: Registry): Outcome {
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) {
    return failed([{ path: [], message: 'a config is a map with receivers, exporters, service, …' }])
  }
  const document = raw as Readonly<Record<string, unknown>>
  const components = parseComponents(document, registry)
  const problems = [...sectionProblems(document), ...components.problems]
  const service = parseService(document['service'] ?? {}, problems)
  const wiring = checkWiring(graphOf(document['service']), components)
  problems.push(...wiring.problems)
  if (service !== undefined) problems.push(...conflicts(service, components, wiring.used))
  const notices = [...components.notices, ...wiring.notices]
  if (service === undefined || problems.length > 0) return { config: undefined, problems, notices }
  return { config: toConfig(document, components, service), problems, notices }
}

function failed(problems: readonly Problem[]): Outcome {
  return { config: undefined, problems, notices: [] }
}

/** Sections that a later version fills. */
const RESERVED_SECTIONS = ['tests']

function sectionProblems(document: Readonly<Record<string, unknown>>): Problem[] {
  const known = [...SECTIONS.map((section) => section.name), 'service']
  const problems: Problem[] = []
  for (const key of Object.keys(document)) {
    if (known.includes(key)) continue
    const message = RESERVED_SECTIONS.includes(key)
      ? `"${key}" is not built into this version yet`
      : `unknown section ${quoted(key)}${hint(key, known)}`
    problems.push({ path: [key], at: 'key', message })
  }
  return problems
}

function parseService(value: unknown, problems: Problem[]): ServiceInput | undefined {
  const result = serviceSchema.safeParse(value, PARSED_ONCE)
  if (result.success) return result.data
  problems.push(...problemsOf(result.error.issues, value, inputSchema(serviceSchema), ['service']))
  return undefined
}

function toConfig(raw: unknown, components: Parsed, service: ServiceInput): Config {
  return {
    ...components.sections,
    service: toService(service, toPipelines(service, components)),
    raw,
    digest: digestOf(raw),
  }
}

function toPipelines(service: ServiceInput, components: Parsed): Map<string, PipelineConfig> {
  const pipelines = new Map<string, PipelineConfig>()
  for (const [id, pipeline] of Object.entries(service.pipelines)) {
    const processors = pipeline.processors.filter((name) => !components.noOps.has(name))
    pipelines.set(id, { ...pipeline, id, signal: 'traces', processors })
  }
  return pipelines
}
