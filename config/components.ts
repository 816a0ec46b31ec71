import type { ComponentConfig } from '../pipeline/config.ts'
import type { ProcessorFactory, Registry } from '../pipeline/factory.ts'
import { canonicalJson } from './canonical.ts'
import { problemsOf, type Problem } from '../pipeline/input/issues.ts'
import { inputSchema } from '../pipeline/input/json-schema.ts'
import { counterpartOf, isReserved, noOpKeyReason, noOpReason } from './reserved.ts'
import {
  aKind,
  findFactory,
  idProblem,
  otherKind,
  PARSED_ONCE,
  SECTIONS,
  typeOf,
  type SectionName,
} from './sections.ts'
import { hint, quoted } from '../pipeline/input/suggest.ts'

export interface Parsed {
  /** Components that are fine. */
  readonly sections: Record<SectionName, Map<string, ComponentConfig>>
  /** All ids as written, the faulty ones included, so that one mistake is reported once. */
  readonly defined: Record<SectionName, Set<string>>
  /** Processors that are accepted and left out. */
  readonly noOps: Set<string>
  /** Processors that read the WAL ahead, as their config is. */
  readonly readsAhead: Set<string>
  readonly problems: Problem[]
  readonly notices: Problem[]
}

/** The five component sections of a document, each component by its factory's schema. */
export function parseComponents(document: Readonly<Record<string, unknown>>, registry: Registry): Parsed {
  const parsed: Parsed = {
    sections: perSection(() => new Map<string, ComponentConfig>()),
    defined: perSection(() => new Set<string>()),
    noOps: new Set(),
    readsAhead: new Set(),
    problems: [],
    notices: [],
  }
  for (const { name } of SECTIONS) {
    const section = document[name] ?? {}
    if (typeof section !== 'object' || section === null || Array.isArray(section)) {
      parsed.problems.push({ path: [name], message: `must be a map of ids to ${name}` })
      continue
    }
    for (const [id, input] of Object.entries(section)) {
      parsed.defined[name].add(id)
      parseComponent(name, id, input ?? {}, registry, parsed)
    }
  }
  return parsed
}

function perSection<T>(make: () => T): Record<SectionName, T> {
  return {
    receivers: make(),
    processors: make(),
    exporters: make(),
    connectors: make(),
    extensions: make(),
    jobs: make(),
  }
}

function parseComponent(
  section: SectionName,
  id: string,
  input: unknown,
  registry: Registry,
  parsed: Parsed,
): void {
  const path = [section, id]
  const type = typeOf(id)
  const factory = findFactory(registry, section, type)
  if (factory === undefined) {
    const reason = noOpReason(kindOf(section), type)
    if (reason === undefined) {
      parsed.problems.push({
        path,
        at: 'key',
        message: idProblem(id) ?? unknownType(section, type, registry),
      })
    } else {
      parsed.noOps.add(id)
      parsed.notices.push({ path, at: 'key', message: reason })
    }
    return
  }
  const badId = idProblem(id)
  if (badId !== undefined) parsed.problems.push({ path, at: 'key', message: badId })
  const used = withoutNoOps(section, id, input, parsed)
  const result = factory.config.safeParse(used, PARSED_ONCE)
  if (result.success) {
    const key = canonicalJson(used)
    parsed.sections[section].set(id, { id, type: factory.type, value: result.data, key })
    if ((factory as ProcessorFactory).readsAhead?.(result.data) === true) parsed.readsAhead.add(id)
  } else {
    parsed.problems.push(...problemsOf(result.error.issues, used, inputSchema(factory.config), path))
  }
}

function withoutNoOps(section: SectionName, id: string, input: unknown, { notices }: Parsed): unknown {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) return input
  const used = Object.entries(input).filter(([key]) => {
    const message = noOpKeyReason(kindOf(section), key)
    if (message !== undefined) notices.push({ path: [section, id, key], at: 'key', message })
    return message === undefined
  })
  return used.length === Object.keys(input).length ? input : Object.fromEntries(used)
}

function unknownType(section: SectionName, type: string, registry: Registry): string {
  const kind = kindOf(section)
  if (isReserved(kind, type)) return `"${type}" is not built into this version yet`
  const counterpart = counterpartOf(kind, type)
  if (counterpart !== undefined)
    return `"${type}" is the collector's; here "${counterpart}" does that, with keys of its own`
  const other = otherKind(registry, kind, type)
  if (other !== undefined)
    return `"${type}" is ${aKind(other)}, not ${aKind(kind)}; it belongs under ${other}s`
  const known = registry[section].flatMap((factory) => [factory.type, ...(factory.aliases ?? [])])
  return `unknown ${kind} type ${quoted(type)}${hint(type, known, `known ${section}`)}`
}

function kindOf(section: SectionName): (typeof SECTIONS)[number]['kind'] {
  return section.slice(0, -1) as (typeof SECTIONS)[number]['kind']
}
