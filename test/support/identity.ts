import { createHash, createHmac, randomBytes } from 'node:crypto'

/** A key as `POST /v1/keys` answers it. */
export interface MadeKey {
  readonly id: string
  readonly secret: string
}

/** Tenants and keys of a running daemon, through its API. */
export class IdentityClient {
  readonly #api: string
  readonly #token: string | undefined

  constructor(api: string, token?: string) {
    this.#api = api
    this.#token = token
  }

  async tenant(id: string, fields: object = { tier: 'enterprise' }): Promise<void> {
    await this.call('POST', '/v1/tenants', { id, ...fields })
  }

  async key(fields: object): Promise<MadeKey> {
    const { key, secret } = (await this.call('POST', '/v1/keys', fields)) as {
      key: { id: string }
      secret?: string
    }
    return { id: key.id, secret: secret ?? '' }
  }

  /** A key that has a second to live; more where that is over before the daemon has the request. */
  async dyingKey(fields: object, livesMs = 1000): Promise<MadeKey> {
    try {
      return await this.key({ ...fields, expires: new Date(Date.now() + livesMs).toISOString() })
    } catch (error) {
      if (!String(error).includes('must lie in the future') || livesMs > 60_000) throw error
      return this.dyingKey(fields, livesMs * 2)
    }
  }

  async rotate(id: string, overlapS: number): Promise<MadeKey> {
    const answer = await this.call('POST', `/v1/keys/${id}/rotate`, { overlap_seconds: overlapS })
    return { id: (answer['key'] as { id: string }).id, secret: String(answer['secret']) }
  }

  async revoke(id: string): Promise<void> {
    await this.call('POST', `/v1/keys/${id}/revoke`, {})
  }

  async call(method: string, path: string, body?: object): Promise<Record<string, unknown>> {
    const response = await fetch(`${this.#api}${path}`, {
      method,
      headers: {
        'content-type': 'application/json',
        ...(this.#token !== undefined && { authorization: `Bearer ${this.#token}` }),
      },
      ...(body && { body: JSON.stringify(body) }),
    })
    const answer = (await response.json()) as Record<string, unknown>
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${JSON.stringify(answer)}`)
    return answer
  }
}

export interface ToSign {
  readonly key: MadeKey
  readonly tenant: string
  readonly method?: string
  readonly path: string
  readonly body: Uint8Array
  readonly atMs?: number
  readonly nonce?: string
}

/** The headers of a signed request, made from the description in processors/auth/README.md and not from its code. */
export function signed(request: ToSign): Record<string, string> {
  const { key, tenant, method = 'POST', path, body, atMs = Date.now() } = request
  const timestamp = String(Math.floor(atMs / 1000))
  const nonce = request.nonce ?? randomBytes(16).toString('hex')
  const sha256 = createHash('sha256').update(body).digest('hex')
  const text = `v1\n${method}\n${path}\n${timestamp}\n${nonce}\n${tenant}\n${sha256}`
  return {
    'x-weir-key': key.id,
    'x-weir-timestamp': timestamp,
    'x-weir-nonce': nonce,
    'x-weir-content-sha256': sha256,
    'x-weir-signature': createHmac('sha256', key.secret).update(text).digest('hex'),
  }
}
