import type { Parsed } from './components.ts'
import type { Problem } from '../pipeline/input/issues.ts'
import type { Path } from '../pipeline/input/path.ts'
import { aKind, idProblem, SECTIONS, typeOf, type SectionName } from './sections.ts'
import { hint, quoted } from '../pipeline/input/suggest.ts'

/** What the pipelines name, read leniently so that wiring is judged even where a schema was broken. */
export interface Graph {
  readonly extensions: readonly string[]
  readonly jobs: readonly string[]
  readonly pipelines: readonly GraphPipeline[]
  /** There is no map of pipelines at all: the schema has said so. */
  readonly missing: boolean
}

type Role = 'receivers' | 'processors' | 'exporters'

interface GraphPipeline {
  readonly id: string
  /** Undefined where the list is absent or no list: the schema has said so. */
  readonly refs: Readonly<Record<Role, readonly string[] | undefined>>
}

interface Wiring {
  readonly problems: Problem[]
  readonly notices: Problem[]
  /** `section id` of every component that something names. */
  readonly used: Set<string>
}

/** Where the ids of a role may be defined. */
const SOURCES: Readonly<Record<Role, readonly SectionName[]>> = {
  receivers: ['receivers', 'connectors'],
  processors: ['processors'],
  exporters: ['exporters', 'connectors'],
}
const ROLES = ['receivers', 'processors', 'exporters'] as const

export function graphOf(service: unknown): Graph {
  const { extensions, jobs, pipelines } = asMap(service)
  return {
    extensions: strings(extensions) ?? [],
    jobs: strings(jobs) ?? [],
    pipelines: Object.entries(asMap(pipelines)).map(([id, pipeline]) => toPipeline(id, asMap(pipeline))),
    missing: typeof pipelines !== 'object' || pipelines === null,
  }
}

function toPipeline(id: string, lists: Readonly<Record<string, unknown>>): GraphPipeline {
  const refs = {
    receivers: strings(lists['receivers']),
    processors: strings(lists['processors']),
    exporters: strings(lists['exporters']),
  }
  return { id, refs }
}

function asMap(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
}

function strings(value: unknown): string[] | undefined {
  return Array.isArray(value) ? value.map((item) => (typeof item === 'string' ? item : '')) : undefined
}

/** Every rule about which component stands where in which pipeline. */
export function checkWiring(graph: Graph, components: Parsed): Wiring {
  const wiring: Wiring = { problems: [], notices: [], used: new Set() }
  if (graph.pipelines.length === 0 && !graph.missing) {
    wiring.problems.push({
      path: ['service', 'pipelines'],
      message: 'no pipeline is configured, so nothing would run',
    })
  }
  for (const pipeline of graph.pipelines) checkPipeline(pipeline, components, wiring)
  for (const section of ['extensions', 'jobs'] as const) {
    for (const [index, id] of graph[section].entries()) {
      checkRef(id, ['service', section, index], graph[section], index, [section], components, wiring)
    }
  }
  checkAmbiguous(components, wiring)
  checkConnectors(graph, components, wiring)
  for (const pipeline of graph.pipelines) checkReadsAhead(pipeline, components, wiring)
  checkAuth(graph, components, wiring)
  checkCycles(graph, components, wiring)
  noticeUnused(graph, components, wiring)
  return wiring
}

function checkPipeline(pipeline: GraphPipeline, components: Parsed, wiring: Wiring): void {
  const path = ['service', 'pipelines', pipeline.id]
  const message = signalProblem(pipeline.id)
  if (message !== undefined) wiring.problems.push({ path, at: 'key', message })
  for (const role of ROLES) {
    const refs = pipeline.refs[role]
    if (refs?.length === 0 && role !== 'processors') {
      wiring.problems.push({
        path: [...path, role],
        message: `a pipeline needs at least one ${role.slice(0, -1)}`,
      })
    }
    for (const [index, id] of (refs ?? []).entries()) {
      checkRef(id, [...path, role, index], refs ?? [], index, SOURCES[role], components, wiring)
    }
  }
}

function signalProblem(id: string): string | undefined {
  const signal = typeOf(id)
  if (signal === 'traces') return idProblem(id)
  if (['logs', 'metrics', 'profiles'].includes(signal)) {
    return `${signal} pipelines are not built into this version yet; weir carries traces only`
  }
  return `unknown signal ${quoted(signal)}${hint(signal, ['traces'])}`
}

function checkRef(
  id: string,
  path: Path,
  list: readonly string[],
  index: number,
  sources: readonly SectionName[],
  components: Parsed,
  wiring: Wiring,
): void {
  const report = (message: string): void => void wiring.problems.push({ path, message })
  if (list.indexOf(id) < index) return report(`"${id}" is listed twice`)
  const found = sources.filter((source) => components.defined[source].has(id))
  for (const source of found) wiring.used.add(`${source} ${id}`)
  if (found.length > 0 || id === '') return
  const [source = 'receivers'] = sources
  const elsewhere = SECTIONS.filter((section) => components.defined[section.name].has(id))
  const kind = SECTIONS.find((section) => section.name === source)?.kind ?? 'receiver'
  const [other] = elsewhere
  if (other !== undefined) return report(`"${id}" is ${aKind(other.kind)}, not ${aKind(kind)}`)
  const known = sources.flatMap((name) => [...components.defined[name]])
  report(`no ${kind} ${quoted(id)} is defined under ${sources.join(' or ')}${hint(id, known, 'defined')}`)
}

/** As in the collector: an id that is both a connector and a receiver or exporter could mean either. */
function checkAmbiguous(components: Parsed, wiring: Wiring): void {
  for (const id of components.defined.connectors) {
    const other = (['receivers', 'exporters'] as const).find((name) => components.defined[name].has(id))
    if (other === undefined) continue
    const message = `"${id}" is also defined under ${other}; pipelines could not tell them apart`
    wiring.problems.push({ path: ['connectors', id], at: 'key', message })
  }
}

/** One side alone is legal: with a shared WAL some daemons take in and others store. Nearly always it is a slip, so it is said. */
function checkConnectors(graph: Graph, components: Parsed, wiring: Wiring): void {
  for (const id of components.defined.connectors) {
    const writes = graph.pipelines.some((pipeline) => pipeline.refs.exporters?.includes(id))
    const reads = graph.pipelines.some((pipeline) => pipeline.refs.receivers?.includes(id))
    if (writes === reads) continue
    const message = writes
      ? 'is written to, but no pipeline here reads from it: what it takes in waits until some daemon does'
      : 'is read from, but no pipeline here writes to it: another daemon must'
    wiring.notices.push({ path: ['connectors', id], at: 'key', message })
  }
}

/** What judges by more than one batch needs a log to read, and one such processor must not see what another leaves out. */
function checkReadsAhead({ id, refs }: GraphPipeline, components: Parsed, wiring: Wiring): void {
  const isBehindLog = refs.receivers?.some((receiver) => components.defined.connectors.has(receiver)) ?? false
  let first: string | undefined
  for (const [index, processor] of (refs.processors ?? []).entries()) {
    if (!components.readsAhead.has(processor)) continue
    const path = ['service', 'pipelines', id, 'processors', index]
    const report = (message: string): void => void wiring.problems.push({ path, message })
    if (!isBehindLog) {
      report(
        `"${processor}" judges whole traces and reads the WAL ahead: it needs a pipeline whose receiver is one`,
      )
    } else if (first !== undefined) {
      report(`"${processor}" and "${first}" both judge whole traces; put the policies of both into one`)
    }
    first ??= processor
  }
}

/** A receiver's first pipeline asks its senders for all of them: another answer would count where `auth` is meant to stand. */
function checkAuth(graph: Graph, components: Parsed, wiring: Wiring): void {
  const asking = ({ refs }: GraphPipeline) => (refs.processors ?? []).filter((id) => typeOf(id) === 'auth')
  for (const id of components.defined.receivers) {
    const [first, ...others] = graph.pipelines.filter(({ refs }) => refs.receivers?.includes(id))
    if (first === undefined) continue
    const wanted = asking(first)
    for (const other of others) {
      if (asking(other).join() === wanted.join()) continue
      const at = other.refs.receivers?.indexOf(id) ?? 0
      wiring.problems.push({
        path: ['service', 'pipelines', other.id, 'receivers', at],
        message: `"${id}" asks its senders who they are once, as ${first.id} says: the auth processors of both must be the same`,
      })
    }
  }
}

/** Follows the connectors from pipeline to pipeline; each loop is reported once. */
function checkCycles(graph: Graph, components: Parsed, wiring: Wiring): void {
  const done = new Set<string>()
  const visit = (pipeline: GraphPipeline, trail: readonly string[]): void => {
    if (trail.includes(pipeline.id)) {
      const loop = [...trail.slice(trail.indexOf(pipeline.id)), pipeline.id].join(' → ')
      const message = `pipelines feed themselves through connectors: ${loop}`
      wiring.problems.push({ path: ['service', 'pipelines', pipeline.id], at: 'key', message })
      return
    }
    if (done.has(pipeline.id)) return
    for (const next of successors(pipeline, graph, components)) visit(next, [...trail, pipeline.id])
    done.add(pipeline.id)
  }
  for (const pipeline of graph.pipelines) visit(pipeline, [])
}

function successors(pipeline: GraphPipeline, graph: Graph, components: Parsed): GraphPipeline[] {
  const connectors = (pipeline.refs.exporters ?? []).filter((id) => components.defined.connectors.has(id))
  return graph.pipelines.filter((next) => next.refs.receivers?.some((id) => connectors.includes(id)))
}

function noticeUnused(graph: Graph, components: Parsed, wiring: Wiring): void {
  if (graph.pipelines.length === 0) return
  for (const { name, kind } of SECTIONS) {
    for (const id of components.defined[name]) {
      if (wiring.used.has(`${name} ${id}`) || components.noOps.has(id)) continue
      const isListed = kind === 'extension' || kind === 'job'
      const where = isListed ? `service.${name} does not list it` : 'no pipeline names it'
      wiring.notices.push({ path: [name, id], at: 'key', message: `is defined but not started: ${where}` })
    }
  }
}
