import { randomBytes } from 'node:crypto'
import type { Context } from '../../pipeline/factory.ts'
import { reject } from '../../pipeline/fault.ts'
import type { Secret } from '../../pipeline/secret.ts'
import { stateKey } from '../../pipeline/state/state.ts'

const KEY = stateKey('sanitizer', 'salt')
const CONTEXT = ['sanitizer', 'salt'] as const
const SHORTEST = 32

/** The salt of this installation: as configured, or made once and kept in state, sealed where there is a vault. */
export async function openSalt(
  configured: Secret | undefined,
  { state, vault }: Pick<Context, 'state' | 'vault'>,
): Promise<Buffer> {
  if (configured !== undefined) {
    const text = configured.reveal()
    if (text.length < SHORTEST) {
      throw reject(
        'CONFIG_INVALID',
        `sanitizer: salt has ${text.length} characters; give it at least ${SHORTEST}`,
      )
    }
    return Buffer.from(text)
  }
  const made = randomBytes(32)
  const record =
    vault === undefined ? { plain: made.toString('base64') } : { sealed: vault.seal(made, CONTEXT) }
  const isOurs = (await state.create(KEY, Buffer.from(JSON.stringify({ v: 1, ...record })))) !== undefined
  if (isOurs) return made
  const stored = await state.get(KEY)
  const found = JSON.parse(Buffer.from(stored?.value ?? '{}').toString('utf8')) as Stored
  if (found.sealed === undefined) return Buffer.from(found.plain ?? '', 'base64')
  if (vault !== undefined) return vault.open(found.sealed, CONTEXT)
  throw reject(
    'START_FAILED',
    'sanitizer: the salt of the pseudonyms is sealed; give the state extension the master_key that it was sealed with',
  )
}

interface Stored {
  readonly plain?: string
  readonly sealed?: Parameters<NonNullable<Context['vault']>['open']>[0]
}
