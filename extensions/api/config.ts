import { z } from 'zod'
import { TENANT } from '../../pipeline/admission.ts'
import { profileConfig } from '../../pipeline/runs/diff/profile.ts'
import { byteSize, duration, endpoint, secret } from '../../pipeline/schema.ts'
import { replayConfig } from './replay-config.ts'

const token = z
  .strictObject({
    token: secret().describe('The bearer token, at least 16 characters; give it as ${env:…} or ${file:…}.'),
    role: z
      .enum(['admin', 'read', 'ingest'])
      .describe('admin: everything; read: status and queries; ingest: nothing here.'),
    tenant: z
      .string()
      .regex(TENANT, 'must match ^[a-z0-9][a-z0-9_-]{0,62}$')
      .optional()
      .describe('Queries see the rows of this tenant only. Needed unless the role is admin.'),
  })
  .refine((value) => value.role === 'admin' || value.tenant !== undefined, {
    path: ['tenant'],
    error: 'a token that is not admin needs a tenant',
  })
  .refine((value) => value.token.reveal().length >= 16, {
    path: ['token'],
    error: 'a token needs at least 16 characters',
  })

export const config = z.strictObject({
  endpoint: endpoint()
    .default('127.0.0.1:4320')
    .describe('Where to listen, host:port. Another address than loopback needs tokens.'),
  tokens: z
    .array(token)
    .default([])
    .describe(
      'Who may ask, besides API keys. Without any, and without an admin key, everybody on this machine is admin, and only loopback is served.',
    ),
  query: z
    .strictObject({
      max_rows: z.int().positive().default(10_000).describe('Most rows of an answer.'),
      max_bytes: byteSize().prefault('16MiB').describe('Most bytes of an answer.'),
      timeout: duration().prefault('30s').describe('Longest time a query may take.'),
      max_concurrent: z
        .int()
        .positive()
        .default(4)
        .describe('Queries at once; further ones are asked to come again.'),
    })
    .prefault({})
    .describe('Limits of POST /v1/query; a request may ask for less, never for more.'),
  diff: z
    .strictObject({
      profiles: z
        .record(z.string().regex(/^[a-z0-9][a-z0-9_-]{0,62}$/), profileConfig)
        .default({})
        .describe(
          'What comparisons of runs leave out, by name (`weir runs diff --profile`). Built in: `default`, without ids and times that clients make up; `strict`, with everything.',
        ),
      cache: byteSize().prefault('16MiB').describe('Most bytes of comparisons kept. 0: none.'),
    })
    .prefault({})
    .describe('How runs are compared.'),
  replay: replayConfig
    .prefault({})
    .describe('What `weir replay run` may reach. Without it runs are replayed from the cache only.'),
})
