import type { ComponentConfig } from '../pipeline/config.ts'
import type { Parsed } from './components.ts'
import type { Problem } from '../pipeline/input/issues.ts'
import { pathText, type Path } from '../pipeline/input/path.ts'
import type { SectionName } from './sections.ts'
import type { ServiceInput } from './service.ts'

/** Components that are each fine and cannot run together: one port or one directory twice. */
export function conflicts(service: ServiceInput, components: Parsed, used: ReadonlySet<string>): Problem[] {
  const running = (section: SectionName): ComponentConfig[] =>
    [...components.sections[section].values()].filter(({ id }) => used.has(`${section} ${id}`))
  const servers = (['receivers', 'extensions'] as const).flatMap((section) =>
    running(section).flatMap(({ id, value }) => endpointsIn(value, [section, id])),
  )
  return [
    ...portConflicts([...servers, ...metricsServers(service)]),
    ...embeddedConflicts(running('exporters')),
    ...sharedPlaces(running('connectors'), 'connectors', 'directory'),
    ...sharedPlaces(running('exporters'), 'exporters', 'path'),
  ]
}

interface Server {
  readonly path: Path
  readonly host: string
  readonly port: number
}

/** Every `endpoint: host:port` in a component's config with defaults. */
function endpointsIn(value: unknown, path: Path): Server[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, inner]: [string, unknown]) => {
    if (key !== 'endpoint' || typeof inner !== 'string') return endpointsIn(inner, [...path, key])
    return serverOf(inner, [...path, key])
  })
}

function serverOf(endpoint: string, path: Path): Server[] {
  const match = /^(.*):(\d{1,5})$/.exec(endpoint)
  if (match === null || endpoint.includes('//')) return []
  return [{ path, host: match[1] ?? '', port: Number(match[2]) }]
}

function metricsServers(service: ServiceInput): Server[] {
  const path = ['service', 'telemetry', 'metrics']
  const { level, readers } = service.telemetry.metrics
  if (level === 'none') return []
  if (readers === undefined) return [{ path, host: '127.0.0.1', port: 8888 }]
  return readers.map(({ pull }, index) => ({
    path: [...path, 'readers', index, 'pull', 'exporter', 'prometheus', 'port'],
    host: pull.exporter.prometheus.host,
    port: pull.exporter.prometheus.port,
  }))
}

function portConflicts(servers: readonly Server[]): Problem[] {
  return servers.flatMap((server, index) => {
    const first = servers.slice(0, index).find((other) => collide(server, other))
    if (first === undefined) return []
    const message = `port ${server.port} is already taken by ${pathText(first.path)}`
    return [{ path: server.path, message }]
  })
}

const ANY_HOST = ['', '0.0.0.0', '::']

function collide(a: Server, b: Server): boolean {
  if (a.port !== b.port || a.port === 0) return false
  const [one, two] = [plainHost(a.host), plainHost(b.host)]
  return one === two || ANY_HOST.includes(one) || ANY_HOST.includes(two)
}

function plainHost(host: string): string {
  const bare = host.replace(/^\[|\]$/g, '').toLowerCase()
  return bare === 'localhost' ? '127.0.0.1' : bare
}

/** A process holds one embedded database: its data directory is the process's, not the exporter's. */
function embeddedConflicts(exporters: readonly ComponentConfig[]): Problem[] {
  const embedded = exporters.filter(({ value }) => fieldOf(value, 'endpoint') === 'embedded')
  const [first] = embedded
  if (first === undefined) return []
  const directory = fieldOf(first.value, 'directory')
  return embedded
    .filter(({ value }) => fieldOf(value, 'directory') !== directory)
    .map(({ id }) => ({
      path: ['exporters', id, 'directory'],
      message: `one process holds one embedded ClickHouse; exporters.${first.id} uses ${JSON.stringify(directory)}`,
    }))
}

/** Two writers of one directory or file. */
function sharedPlaces(components: readonly ComponentConfig[], section: SectionName, key: string): Problem[] {
  return components.flatMap(({ id, value }, index) => {
    const place = fieldOf(value, key)
    const first = components.slice(0, index).find((other) => fieldOf(other.value, key) === place)
    if (first === undefined || place === undefined) return []
    const message = `${section}.${first.id} already writes to ${JSON.stringify(place)}`
    return [{ path: [section, id, key], message }]
  })
}

function fieldOf(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[key] : undefined
}
