import type { Route } from '../route.ts'
import { consentRoutes } from './consent-routes.ts'
import { agentRoutes, projectRoutes, tenantRoutes } from './directory-routes.ts'
import { keyRoutes } from './key-routes.ts'
import { identityParts, type IdentityServices } from './parts.ts'

/** Tenants, projects, agents, keys and consents. */
export function identityRoutes(services: IdentityServices): readonly Route[] {
  const parts = identityParts(services)
  return [
    ...tenantRoutes(parts),
    ...projectRoutes(parts),
    ...agentRoutes(parts),
    ...keyRoutes(parts),
    ...consentRoutes(parts),
  ]
}
