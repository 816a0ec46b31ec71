import { z } from 'zod'
import type { AuditDetails } from '../../../pipeline/audit/audit.ts'
import { reject } from '../../../pipeline/fault.ts'
import { agent, limits, partId, project, tenant, tenantId, text } from '../../../pipeline/identity/records.ts'
import { bodyOf, ok, type Call, type Route } from '../route.ts'
import { tenantOf, visible, type IdentityParts } from './parts.ts'
import { agentShape, projectShape, tenantShape } from './shapes.ts'

const status = tenant.shape.status.optional()

const tenantFields = {
  name: text.optional(),
  tier: tenant.shape.tier.optional(),
  limits: limits.nullable().optional(),
}
const newTenant = z.strictObject({ id: tenantId, ...tenantFields })
const tenantChange = z.strictObject({ ...tenantFields, status })

const projectFields = { name: text.optional(), limits: limits.nullable().optional() }
const newProject = z.strictObject({ id: partId, ...projectFields })
const projectChange = z.strictObject({ ...projectFields, status })

const agentFields = {
  name: text.optional(),
  version: agent.shape.version.optional(),
  capabilities: agent.shape.capabilities.optional(),
}
const newAgent = z.strictObject({ id: partId, ...agentFields })
const agentChange = z.strictObject({ ...agentFields, status: project.shape.status.optional() })

/** What was not given is not there: `exactOptionalPropertyTypes` and the records both mean it. */
function given<T extends object>(fields: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined)
  return Object.fromEntries(entries) as { [K in keyof T]: Exclude<T[K], undefined> }
}

export function tenantRoutes({ directory, identity }: IdentityParts): readonly Route[] {
  return [
    {
      method: 'GET',
      path: '/v1/tenants',
      audit: false,
      role: 'admin',
      scope: 'tenant',
      handle: async ({ principal }) =>
        ok({
          tenants: [...identity.tenants()]
            .filter(({ id }) => visible(principal, id))
            .sort(byId)
            .map(tenantShape),
        }),
    },
    {
      method: 'POST',
      path: '/v1/tenants',
      audit: { action: 'tenant.create' },
      role: 'admin',
      scope: 'daemon',
      async handle({ body }) {
        const { id, ...fields } = bodyOf(newTenant, body)
        const made = tenantShape(await directory.createTenant(id, given(fields)))
        return { status: 201, body: { tenant: made }, audit: { object: id, tenant: id } }
      },
    },
    {
      method: 'GET',
      path: '/v1/tenants/{tenant}',
      audit: false,
      role: 'admin',
      scope: 'tenant',
      handle: async (call) => ok({ tenant: tenantShape(await directory.tenant(tenantOf(call))) }),
    },
    {
      // Tier and limits are not the tenant's own to change.
      method: 'PATCH',
      path: '/v1/tenants/{tenant}',
      audit: { action: 'tenant.change' },
      role: 'admin',
      scope: 'daemon',
      async handle(call) {
        const fields = bodyOf(tenantChange, call.body)
        const changed = await directory.changeTenant(tenantOf(call), given(fields))
        return ok({ tenant: tenantShape(changed) }, { details: changesOf(fields) })
      },
    },
  ]
}

export function projectRoutes({ directory, identity }: IdentityParts): readonly Route[] {
  return partRoutes(directory, {
    one: 'project',
    all: () => identity.projects(),
    shape: projectShape,
    read: (tenant, id) => directory.project(tenant, id),
    make(tenant, body) {
      const { id, ...fields } = bodyOf(newProject, body)
      return directory.createProject(tenant, id, given(fields))
    },
    change: (tenant, id, body) => directory.changeProject(tenant, id, given(bodyOf(projectChange, body))),
  })
}

export function agentRoutes({ directory, identity }: IdentityParts): readonly Route[] {
  return partRoutes(directory, {
    one: 'agent',
    all: () => identity.agents(),
    shape: agentShape,
    read: (tenant, id) => directory.agent(tenant, id),
    make(tenant, body) {
      const { id, ...fields } = bodyOf(newAgent, body)
      return directory.createAgent(tenant, id, given(fields))
    },
    change: (tenant, id, body) => directory.changeAgent(tenant, id, given(bodyOf(agentChange, body))),
  })
}

/** What a tenant has many of. */
interface Part<T> {
  readonly one: 'project' | 'agent'
  all(): Iterable<T>
  shape(record: T): object
  read(tenant: string, id: string): Promise<T>
  make(tenant: string, body: unknown): Promise<T>
  change(tenant: string, id: string, body: unknown): Promise<T>
}

const base = { role: 'admin', scope: 'tenant' } as const

function partRoutes<T extends { readonly tenant: string; readonly id: string }>(
  directory: IdentityParts['directory'],
  part: Part<T>,
): readonly Route[] {
  const { one } = part
  const path = `/v1/tenants/{tenant}/${one}s`
  return [
    {
      ...base,
      method: 'GET',
      path,
      audit: false,
      async handle(call) {
        const own = ownOf(part.all(), await existing(directory, call))
        return ok({ [`${one}s`]: own.map((record) => part.shape(record)) })
      },
    },
    {
      ...base,
      method: 'POST',
      path,
      audit: { action: `${one}.create` },
      async handle(call) {
        const made = await part.make(tenantOf(call), call.body)
        return {
          status: 201,
          body: { [one]: part.shape(made) },
          audit: { object: `${made.tenant}/${made.id}` },
        }
      },
    },
    {
      ...base,
      method: 'GET',
      path: `${path}/{${one}}`,
      audit: false,
      handle: async (call) => ok({ [one]: part.shape(await part.read(tenantOf(call), param(call, one))) }),
    },
    {
      ...base,
      method: 'PATCH',
      path: `${path}/{${one}}`,
      audit: { action: `${one}.change` },
      async handle(call) {
        const changed = await part.change(tenantOf(call), param(call, one), call.body)
        return ok({ [one]: part.shape(changed) }, { details: changesOf(call.body) })
      },
    },
  ]
}

/** Which fields were set; what stands or falls with them is a status. */
function changesOf(body: unknown): AuditDetails {
  const fields = typeof body === 'object' && body !== null ? given(body as Record<string, unknown>) : {}
  const status = (fields as { readonly status?: unknown }).status
  return { fields: Object.keys(fields).slice(0, 32), ...(typeof status === 'string' && { status }) }
}

/** The tenant of the path; NOT_FOUND rather than an empty list where there is none. */
async function existing(directory: IdentityParts['directory'], call: Call): Promise<string> {
  const { id } = await directory.tenant(tenantOf(call))
  return id
}

function ownOf<T extends { readonly tenant: string; readonly id: string }>(
  all: Iterable<T>,
  tenant: string,
): T[] {
  return [...all].filter((record) => record.tenant === tenant).sort(byId)
}

function byId(a: { readonly id: string }, b: { readonly id: string }): number {
  return a.id < b.id ? -1 : 1
}

function param({ params }: Call, name: string): string {
  const value = params[name]
  if (value === undefined) throw reject('REQUEST_INVALID', `the path names no ${name}`)
  return value
}
