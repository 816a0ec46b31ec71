import { z } from 'zod'
import { ACLS, bucketFields, checkBucket, keyPath, STORAGE_CLASSES } from '../../pipeline/bucket/access.ts'
import { clientTls } from '../../pipeline/net/client-tls.ts'
import { canZstd } from '../../pipeline/net/compress.ts'
import { byteSize, duration } from '../../pipeline/schema.ts'
import { isTimeFormat } from './time-format.ts'

const uploader = z
  .strictObject({
    ...bucketFields,
    s3_base_prefix: keyPath().default('').describe('What all keys begin with.'),
    s3_prefix: keyPath().default('').describe('What follows on `s3_base_prefix`.'),
    s3_partition_format: z
      .string()
      .default('year=%Y/month=%m/day=%d/hour=%H')
      .refine(isTimeFormat, "may hold %Y %m %d %H %M %j %s, letters, digits and !_.*'()=/-")
      .describe(
        'How objects are parted by the start of their spans (UTC, strftime); `tenant=<id>/` stands before it.',
      ),
    file_prefix: keyPath()
      .refine((text) => !text.includes('/'), 'must be part of a name, without /')
      .default('')
      .describe('What the names of objects begin with.'),
    storage_class: z
      .enum(STORAGE_CLASSES)
      .default('STANDARD')
      .describe('Of the objects; manifests are STANDARD.'),
    acl: z.enum(ACLS).optional().describe('A canned ACL, where the bucket has ACLs.'),
    compression: z
      .enum(['none', 'gzip', 'zstd'])
      .default('gzip')
      .describe('Of each object; in Parquet of its pages. zstd needs Node.js 22.15.'),
  })
  .superRefine(checkBucket)
  .refine((c) => c.compression !== 'zstd' || canZstd, {
    path: ['compression'],
    message: 'zstd needs Node.js 22.15 or newer; use gzip',
  })

const batch = z.strictObject({
  max_spans: z.int().min(1).max(1_000_000).default(65_536).describe('Spans per delivery, at most.'),
  max_bytes: byteSize().prefault('32MiB').describe('OTLP bytes per delivery, about.'),
  max_wait: duration().prefault('30s').describe('How long the first span of a delivery waits for others.'),
})

/** Keys as in the collector's awss3 exporter where they mean the same. */
export const config = z.strictObject({
  s3uploader: uploader.describe('The bucket, the names of objects, and how they are put there.'),
  marshaler: z
    .enum(['otlp_json', 'otlp_proto', 'parquet'])
    .default('otlp_json')
    .describe(
      'otlp_json: an OTLP/JSON object per line; otlp_proto: one OTLP protobuf message; parquet: a row per span.',
    ),
  timeout: duration().prefault('30s').describe('Of one attempt of one request.'),
  tls: clientTls.optional().describe('How the endpoint is trusted; the public authorities when left out.'),
  batch: batch
    .prefault({})
    .describe('The size of one delivery, which becomes an object per tenant and partition.'),
})

export type Config = z.output<typeof config>
