import { z } from 'zod'
import { endpoint } from '../../pipeline/schema.ts'

export const config = z.strictObject({
  endpoint: endpoint().default('127.0.0.1:13133').describe('Where to listen, host:port.'),
  path: z
    .string()
    .startsWith('/')
    .default('/')
    .describe('Another path for /readyz, as load balancers of collector users ask for it.'),
  insecure_bind: z
    .boolean()
    .default(false)
    .describe('Allow an endpoint that other machines can reach; the answers carry no data and no secrets.'),
})
