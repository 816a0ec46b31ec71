import { expect, test } from 'vitest'
import { EmbeddedState } from '../../pipeline/state/embedded.ts'
import { NOBODY_KNOWN } from '../../pipeline/identity/view.ts'
import { stubHost } from '../../test/support/extension-context.ts'
import type { Principal } from './principal.ts'
import { replayRoute } from './replay.ts'
import { replayConfig } from './replay-config.ts'

const actor = { id: 'k1', kind: 'key' } as const
const ADMIN: Principal = { actor, role: 'admin', tenant: 'acme' }

/** Nothing is read before the caller's rights are. */
const parts = { state: new EmbeddedState('unused'), identity: NOBODY_KNOWN, clock: () => 0 }

test.each(['hybrid', 'verification'])(
  'mode %s spends the daemon’s keys: no tenant’s admin may ask for it',
  async (mode) => {
    const route = replayRoute(stubHost({}), parts, replayConfig.parse({}))
    const call = {
      params: { run: 'r1' },
      query: new URLSearchParams(),
      body: { mode },
      signal: AbortSignal.timeout(1000),
    }
    await expect(route.handle({ ...call, principal: ADMIN })).rejects.toMatchObject({
      code: 'PERMISSION_DENIED',
      message: 'this needs an admin of the daemon; the token is for tenant acme',
    })
    await expect(route.handle({ ...call, principal: { actor, role: 'read' } })).rejects.toMatchObject({
      code: 'PERMISSION_DENIED',
    })
  },
)
