import { z } from 'zod'
import { secret } from '../schema.ts'

/** How to reach NATS: shared by the WAL and the state store. */
export const natsFields = {
  servers: z
    .array(z.string().min(1))
    .min(1)
    .default(['nats://127.0.0.1:4222'])
    .describe('NATS servers, `nats://host:port`; any one of a cluster finds the others.'),
  user: z.string().optional().describe('User name.'),
  password: secret().optional().describe('Password of `user`.'),
  token: secret().optional().describe('Authentication token.'),
  nkey_seed_file: z.string().optional().describe('File with an nkey seed (`SU…`).'),
  credentials_file: z.string().optional().describe('NATS `.creds` file (JWT and seed).'),
  tls: z
    .strictObject({
      ca_file: z.string().optional().describe('CA certificates that the server must be signed by.'),
      cert_file: z.string().optional().describe('Client certificate, for mutual TLS.'),
      key_file: z.string().optional().describe('Key of the client certificate.'),
      insecure_skip_verify: z.boolean().default(false).describe('Do not verify the server’s certificate.'),
      handshake_first: z
        .boolean()
        .default(false)
        .describe('Start TLS before the server’s INFO (server `handshake_first`).'),
    })
    .optional()
    .describe('TLS. Without this block TLS is used when the server demands it.'),
} as const

const schema = z.strictObject(natsFields)
export type NatsOptions = z.output<typeof schema>
