import type { ComponentHealth, Health, Status } from '../host.ts'
import type { Meter } from './meter.ts'
import { redactText } from './redact.ts'

/** The collector's healthcheckv2 JSON shape, so that its dashboards and probes work unchanged. */
export interface StatusNode {
  readonly start_time?: string
  readonly healthy: boolean
  readonly status: Status
  readonly error?: string
  readonly status_time: string
  readonly components?: Readonly<Record<string, StatusNode>>
}

/** Worst first: the status of a group is that of its worst member. */
const WORST: readonly Status[] = [
  'StatusFatalError',
  'StatusPermanentError',
  'StatusRecoverableError',
  'StatusStopping',
  'StatusStopped',
  'StatusStarting',
  'StatusOK',
]

/** Statuses in which data still flows. */
const HEALTHY: ReadonlySet<Status> = new Set<Status>(['StatusOK', 'StatusRecoverableError'])

/** Why the daemon cannot store, or what lags while it can. Never empty when something is wrong. */
export function reasonsOf(health: Health): readonly string[] {
  const troubled = health.components
    .filter((component) => component.error !== undefined || component.status !== 'StatusOK')
    .map((component) => `${component.name}: ${component.error ?? component.status}`)
  const reasons = [...new Set([...health.degraded, ...troubled])].map(redactText)
  return reasons.length > 0 || health.ready ? reasons : ['the daemon is not started yet']
}

/** `weir_health_score` of every component: 1 healthy, 0.5 recoverable, 0 failed or not running. */
export function recordHealth(meter: Meter, health: Health): void {
  const score = meter.gauge('weir_health_score')
  for (const { name, status } of health.components) {
    const value = status === 'StatusOK' ? 1 : HEALTHY.has(status) ? 0.5 : 0
    score.set(value, { component: name })
  }
}

/** `/status`: the whole daemon; with `verbose` its tree. */
export function statusOf(health: Health, nowMs: number, verbose: boolean): StatusNode {
  const worst = worstOf(health.components)
  const reasons = reasonsOf(health)
  const groups = [...new Set(health.components.map((component) => component.group))]
  return {
    start_time: iso(health.startedAtMs),
    healthy: health.ready,
    status: overall(health, worst),
    ...(reasons.length === 0 ? {} : { error: reasons.join('; ') }),
    status_time: iso(latest(health.components, nowMs)),
    ...(verbose
      ? {
          components: Object.fromEntries(groups.map((group) => [group, groupOf(health, group, nowMs, true)])),
        }
      : {}),
  }
}

/** `/status?pipeline=…`: one pipeline, or undefined when there is none of that name. */
export function pipelineStatus(
  health: Health,
  pipeline: string,
  nowMs: number,
  verbose: boolean,
): StatusNode | undefined {
  const group = `pipeline:${pipeline}`
  if (!health.components.some((component) => component.group === group)) return undefined
  return groupOf(health, group, nowMs, verbose)
}

/** healthcheckv2's mapping; not being able to store is 503 whatever the components say. */
export function httpStatusOf(node: StatusNode): number {
  if (node.status === 'StatusFatalError') return 500
  if (['StatusStarting', 'StatusStopping', 'StatusStopped'].includes(node.status)) return 503
  return node.healthy ? 200 : 503
}

function groupOf(health: Health, group: string, nowMs: number, verbose: boolean): StatusNode {
  const members = health.components.filter((component) => component.group === group)
  const status = worstOf(members) ?? 'StatusOK'
  const error = members.find((member) => member.status === status)?.error
  return {
    healthy: HEALTHY.has(status),
    status,
    ...(error === undefined ? {} : { error: redactText(error) }),
    status_time: iso(latest(members, nowMs)),
    ...(verbose
      ? { components: Object.fromEntries(members.map((member) => [member.name, leaf(member)])) }
      : {}),
  }
}

function leaf(component: ComponentHealth): StatusNode {
  return {
    healthy: HEALTHY.has(component.status),
    status: component.status,
    ...(component.error === undefined ? {} : { error: redactText(component.error) }),
    status_time: iso(component.sinceMs),
  }
}

function overall(health: Health, worst: Status | undefined): Status {
  if (worst === undefined) return 'StatusStarting'
  if (worst !== 'StatusOK') return worst
  return health.ready && health.degraded.length === 0 ? 'StatusOK' : 'StatusRecoverableError'
}

function worstOf(components: readonly ComponentHealth[]): Status | undefined {
  return WORST.find((status) => components.some((component) => component.status === status))
}

function latest(components: readonly ComponentHealth[], nowMs: number): number {
  return components.reduce((last, component) => Math.max(last, component.sinceMs), 0) || nowMs
}

function iso(ms: number): string {
  return new Date(ms).toISOString()
}
