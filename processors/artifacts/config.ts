import { z } from 'zod'
import { bucketFields, checkBucket, keyPath } from '../../pipeline/bucket/access.ts'
import { clientTls } from '../../pipeline/net/client-tls.ts'
import { byteSize, duration } from '../../pipeline/schema.ts'

/** Below it, what is left in the span would not be much smaller than the value was. */
const LEAST_BYTES = 4096
/** Of a signed URL of S3. */
const LONGEST_LINK_MS = 7 * 24 * 3_600_000

const uploader = z
  .strictObject({
    ...bucketFields,
    server_side_encryption: z
      .enum(['AES256', 'aws:kms'])
      .default('AES256')
      .describe('Asked for with each object.'),
    s3_prefix: keyPath().default('artifacts').describe('What keys begin with; `tenant=<id>/` follows.'),
  })
  .superRefine(checkBucket)

export const config = z
  .strictObject({
    min_bytes: byteSize()
      .prefault('100KiB')
      .refine((bytes) => bytes >= LEAST_BYTES, `must be at least ${LEAST_BYTES}`)
      .describe(
        'Values of at least so many bytes are moved: of a text its UTF-8, of a list or map its protobuf.',
      ),
    preview_bytes: byteSize()
      .prefault('1KiB')
      .describe('What stays of a text, a list or a map in the attribute, cut between characters.'),
    s3uploader: uploader.optional().describe('The bucket. Left out: `directory`.'),
    directory: z
      .string()
      .min(1)
      .optional()
      .describe('Where there is no bucket: a directory of this machine. Default `./data/artifacts`.'),
    envelope: z
      .boolean()
      .optional()
      .describe(
        'Encrypt here, by AES-256-GCM with a key per tenant that the `master_key` of the state extension seals. Default: true for a directory; false for a bucket, which encrypts by `server_side_encryption`.',
      ),
    link_ttl: duration()
      .prefault('1h')
      .refine((ms) => ms >= 1000 && ms <= LONGEST_LINK_MS, 'must be between 1s and 168h')
      .describe('How long a signed URL is good for.'),
    timeout: duration().prefault('30s').describe('Of storing one artifact, all attempts together.'),
    tls: clientTls.optional().describe('How the endpoint is trusted; the public authorities when left out.'),
  })
  .refine((c) => c.s3uploader === undefined || c.directory === undefined, {
    path: ['directory'],
    message: 's3uploader and directory exclude each other',
  })
  .refine((c) => c.preview_bytes < c.min_bytes, {
    path: ['preview_bytes'],
    message: 'must be less than min_bytes',
  })

export type Config = z.output<typeof config>
