import { reject } from '../fault.ts'
import { stateKey, type StateStore } from '../state/state.ts'
import {
  agent,
  agentKey,
  project,
  projectKey,
  tenant,
  tenantKey,
  VERSION,
  type Agent,
  type Limits,
  type Project,
  type Tenant,
} from './records.ts'
import { changeRecord, createRecord, readRecord, type Place } from './writes.ts'

export type TenantFields = Partial<Pick<Tenant, 'name' | 'tier' | 'status'>> & {
  readonly limits?: Limits | null
}
export type ProjectFields = Partial<Pick<Project, 'name' | 'status'>> & { readonly limits?: Limits | null }
export type AgentFields = Partial<Pick<Agent, 'name' | 'version' | 'capabilities' | 'status'>>

/** Every daemon keeps all records in memory, and a tenant's own admin makes these. */
const MAX_PER_TENANT = 1000

/** Writes tenants, and the projects and agents below them. All of it also works without a daemon. */
export class Directory {
  readonly #state: StateStore
  readonly #clock: () => number

  constructor(state: StateStore, clock: () => number) {
    this.#state = state
    this.#clock = clock
  }

  createTenant(id: string, fields: TenantFields): Promise<Tenant> {
    const { limits, ...rest } = fields
    return createRecord(this.#state, tenantPlace(id), {
      v: VERSION,
      id,
      name: '',
      tier: 'free',
      status: 'active',
      created_ms: this.#clock(),
      ...rest,
      ...(limits && { limits }),
    })
  }

  changeTenant(id: string, fields: TenantFields): Promise<Tenant> {
    return changeRecord(this.#state, tenantPlace(id), (before) => edited(before, fields))
  }

  /** Throws NOT_FOUND. */
  tenant(id: string): Promise<Tenant> {
    return readRecord(this.#state, tenantPlace(id))
  }

  async createProject(tenant: string, id: string, fields: ProjectFields): Promise<Project> {
    await this.tenant(tenant)
    await this.#checkRoom('project', tenant)
    const { limits, ...rest } = fields
    return createRecord(this.#state, projectPlace(tenant, id), {
      v: VERSION,
      tenant,
      id,
      name: '',
      status: 'active',
      created_ms: this.#clock(),
      ...rest,
      ...(limits && { limits }),
    })
  }

  changeProject(tenant: string, id: string, fields: ProjectFields): Promise<Project> {
    return changeRecord(this.#state, projectPlace(tenant, id), (before) => edited(before, fields))
  }

  project(tenant: string, id: string): Promise<Project> {
    return readRecord(this.#state, projectPlace(tenant, id))
  }

  async createAgent(tenant: string, id: string, fields: AgentFields): Promise<Agent> {
    await this.tenant(tenant)
    await this.#checkRoom('agent', tenant)
    return createRecord(this.#state, agentPlace(tenant, id), {
      v: VERSION,
      tenant,
      id,
      name: '',
      version: '',
      capabilities: [],
      status: 'active',
      created_ms: this.#clock(),
      ...fields,
    })
  }

  changeAgent(tenant: string, id: string, fields: AgentFields): Promise<Agent> {
    return changeRecord(this.#state, agentPlace(tenant, id), (before) => ({ ...before, ...fields }))
  }

  agent(tenant: string, id: string): Promise<Agent> {
    return readRecord(this.#state, agentPlace(tenant, id))
  }

  async #checkRoom(kind: 'project' | 'agent', tenant: string): Promise<void> {
    const { length } = await this.#state.list(stateKey('identity', kind, tenant))
    if (length < MAX_PER_TENANT) return
    throw reject('CONFLICT', `tenant ${tenant} has ${MAX_PER_TENANT} ${kind}s, which is the most`)
  }

  /** Throws REQUEST_INVALID naming what a key would belong to and is not there. */
  async checkOwner(owner: { tenant?: string; project?: string; agent?: string }): Promise<void> {
    const { tenant, project, agent } = owner
    if (tenant === undefined) {
      if ((project ?? agent) === undefined) return
      throw reject('REQUEST_INVALID', 'a project or agent belongs to a tenant: name it')
    }
    await this.tenant(tenant)
    if (project !== undefined) await this.project(tenant, project)
    if (agent !== undefined) await this.agent(tenant, agent)
  }
}

/** `limits: null` removes them. */
function edited<T extends { limits?: Limits | undefined }>(
  before: T,
  { limits, ...fields }: { readonly limits?: Limits | null },
): T {
  const next = { ...before, ...fields }
  if (limits === undefined) return next
  if (limits !== null) return { ...next, limits }
  const { limits: _, ...without } = next
  return without as T
}

const tenantPlace = (id: string): Place<typeof tenant> => ({
  key: tenantKey(id),
  schema: tenant,
  what: `tenant ${id}`,
})
const projectPlace = (owner: string, id: string): Place<typeof project> => ({
  key: projectKey(owner, id),
  schema: project,
  what: `project ${id} of tenant ${owner}`,
})
const agentPlace = (owner: string, id: string): Place<typeof agent> => ({
  key: agentKey(owner, id),
  schema: agent,
  what: `agent ${id} of tenant ${owner}`,
})
