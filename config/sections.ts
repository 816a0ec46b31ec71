import type { z } from 'zod'
import type { Kind, Registry } from '../pipeline/factory.ts'
import { isReserved } from './reserved.ts'

/** The six maps of components in a config, in the order of their checks and docs. */
export const SECTIONS = [
  { name: 'receivers', kind: 'receiver' },
  { name: 'processors', kind: 'processor' },
  { name: 'exporters', kind: 'exporter' },
  { name: 'connectors', kind: 'connector' },
  { name: 'extensions', kind: 'extension' },
  { name: 'jobs', kind: 'job' },
] as const satisfies readonly { readonly name: keyof Registry; readonly kind: Kind }[]

export type SectionName = (typeof SECTIONS)[number]['name']

/** For zod: to compile a schema into code, as it does by itself, takes longer than the one config that it is for. */
export const PARSED_ONCE = { jitless: true } as const

/** What all factories have. */
export interface FactoryInfo {
  readonly type: string
  readonly aliases?: readonly string[]
  readonly summary: string
  readonly config: z.ZodType
}

export function findFactory(registry: Registry, section: SectionName, type: string): FactoryInfo | undefined {
  const factories: readonly FactoryInfo[] = registry[section]
  return (
    factories.find((factory) => factory.type === type) ??
    factories.find((factory) => factory.aliases?.includes(type) === true)
  )
}

/** `type/name` → type. Spaces around the slash are dropped, as in the collector. */
export function typeOf(id: string): string {
  const slash = id.indexOf('/')
  return (slash < 0 ? id : id.slice(0, slash)).trim()
}

/** The collector's rule for ids (`component/identifiable.go`); undefined when `id` follows it. */
export function idProblem(id: string): string | undefined {
  const [type = '', ...rest] = id.split('/')
  if (!/^[a-zA-Z][0-9a-zA-Z_]{0,62}$/.test(type.trim())) {
    return 'an id is type or type/name; the type is letters, digits and _'
  }
  const name = rest.join('/').trim()
  if (rest.length > 0 && !/^[^\p{Z}\p{C}\p{S}]{1,1024}$/u.test(name)) {
    return 'the name after the slash must not be empty and must hold no spaces, controls or symbols'
  }
  return undefined
}

/** The kind under which `type` exists, if it is not `kind`. */
export function otherKind(registry: Registry, kind: Kind, type: string): Kind | undefined {
  return SECTIONS.find(
    (section) =>
      section.kind !== kind &&
      (findFactory(registry, section.name, type) !== undefined || isReserved(section.kind, type)),
  )?.kind
}

/** `a receiver`, `an exporter`. */
export function aKind(kind: Kind): string {
  return kind === 'exporter' || kind === 'extension' ? `an ${kind}` : `a ${kind}`
}
