import type { Route } from '../route.ts'
import { agentRoutes, projectRoutes, tenantRoutes } from './directory-routes.ts'
import { keyRoutes } from './key-routes.ts'
import { identityParts, type IdentityServices } from './parts.ts'

/** Tenants, projects, agents and keys. */
export function identityRoutes(services: IdentityServices): readonly Route[] {
  const parts = identityParts(services)
  return [...tenantRoutes(parts), ...projectRoutes(parts), ...agentRoutes(parts), ...keyRoutes(parts)]
}
