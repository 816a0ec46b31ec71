import { z } from 'zod'
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
      role: 'admin',
      scope: 'daemon',
      async handle({ body }) {
        const { id, ...fields } = bodyOf(newTenant, body)
        return { status: 201, body: { tenant: tenantShape(await directory.createTenant(id, given(fields))) } }
      },
    },
    {
      method: 'GET',
      path: '/v1/tenants/{tenant}',
      role: 'admin',
      scope: 'tenant',
      handle: async (call) => ok({ tenant: tenantShape(await directory.tenant(tenantOf(call))) }),
    },
    {
      // Tier and limits are not the tenant's own to change.
      method: 'PATCH',
      path: '/v1/tenants/{tenant}',
      role: 'admin',
      scope: 'daemon',
      async handle(call) {
        const fields = bodyOf(tenantChange, call.body)
        return ok({ tenant: tenantShape(await directory.changeTenant(tenantOf(call), given(fields))) })
      },
    },
  ]
}

export function projectRoutes({ directory, identity }: IdentityParts): readonly Route[] {
  const path = '/v1/tenants/{tenant}/projects'
  const base = { role: 'admin', scope: 'tenant' } as const
  return [
    {
      ...base,
      method: 'GET',
      path,
      handle: async (call) =>
        ok({ projects: ownOf(identity.projects(), await existing(directory, call)).map(projectShape) }),
    },
    {
      ...base,
      method: 'POST',
      path,
      async handle(call) {
        const { id, ...fields } = bodyOf(newProject, call.body)
        const made = await directory.createProject(tenantOf(call), id, given(fields))
        return { status: 201, body: { project: projectShape(made) } }
      },
    },
    {
      ...base,
      method: 'GET',
      path: `${path}/{project}`,
      handle: async (call) =>
        ok({ project: projectShape(await directory.project(tenantOf(call), param(call, 'project'))) }),
    },
    {
      ...base,
      method: 'PATCH',
      path: `${path}/{project}`,
      async handle(call) {
        const fields = given(bodyOf(projectChange, call.body))
        const changed = await directory.changeProject(tenantOf(call), param(call, 'project'), fields)
        return ok({ project: projectShape(changed) })
      },
    },
  ]
}

export function agentRoutes({ directory, identity }: IdentityParts): readonly Route[] {
  const path = '/v1/tenants/{tenant}/agents'
  const base = { role: 'admin', scope: 'tenant' } as const
  return [
    {
      ...base,
      method: 'GET',
      path,
      handle: async (call) =>
        ok({ agents: ownOf(identity.agents(), await existing(directory, call)).map(agentShape) }),
    },
    {
      ...base,
      method: 'POST',
      path,
      async handle(call) {
        const { id, ...fields } = bodyOf(newAgent, call.body)
        const made = await directory.createAgent(tenantOf(call), id, given(fields))
        return { status: 201, body: { agent: agentShape(made) } }
      },
    },
    {
      ...base,
      method: 'GET',
      path: `${path}/{agent}`,
      handle: async (call) =>
        ok({ agent: agentShape(await directory.agent(tenantOf(call), param(call, 'agent'))) }),
    },
    {
      ...base,
      method: 'PATCH',
      path: `${path}/{agent}`,
      async handle(call) {
        const fields = given(bodyOf(agentChange, call.body))
        const changed = await directory.changeAgent(tenantOf(call), param(call, 'agent'), fields)
        return ok({ agent: agentShape(changed) })
      },
    },
  ]
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
