import { reject } from '../../../pipeline/fault.ts'
import { resealSigner } from '../../../pipeline/audit/signer.ts'
import { Consents } from '../../../pipeline/consent/consents.ts'
import { Directory } from '../../../pipeline/identity/directory.ts'
import { Keyring } from '../../../pipeline/identity/keyring.ts'
import type { Vault } from '../../../pipeline/identity/vault.ts'
import type { IdentityView } from '../../../pipeline/identity/view.ts'
import type { StateStore } from '../../../pipeline/state/state.ts'
import type { Principal } from '../principal.ts'
import type { Call } from '../route.ts'

/** What the routes work on. */
export interface IdentityParts {
  readonly state: StateStore
  readonly identity: IdentityView
  readonly directory: Directory
  readonly keyring: Keyring
  readonly consents: Consents
  readonly clock: () => number
  /** Seals what signs the audit log under the present master key: how many that were, 0 or 1. */
  resealAudit(): Promise<number>
}

export interface IdentityServices {
  readonly state: StateStore
  readonly identity: IdentityView
  readonly vault?: Vault | undefined
  readonly clock: () => number
}

export function identityParts({ state, identity, vault, clock }: IdentityServices): IdentityParts {
  const directory = new Directory(state, clock)
  return {
    state,
    identity,
    directory,
    keyring: new Keyring(state, directory, vault, clock),
    consents: new Consents(state, directory, clock),
    clock,
    resealAudit: async () => (vault !== undefined && (await resealSigner(state, vault)) ? 1 : 0),
  }
}

export function visible(principal: Principal, tenant: string | undefined): boolean {
  return principal.tenant === undefined || principal.tenant === tenant
}

/** The tenant that the path names, if the caller may touch it; whether another one exists is not said. */
export function tenantOf({ params, principal }: Call): string {
  const tenant = params['tenant'] ?? ''
  if (!visible(principal, tenant)) throw otherTenant()
  return tenant
}

export function otherTenant() {
  return reject('PERMISSION_DENIED', 'the token is for another tenant')
}
