import { z } from 'zod'
import { awsCredentials, awsRetries, hasBothKeys } from '../../pipeline/net/aws-client.ts'
import { clientTls } from '../../pipeline/net/client-tls.ts'
import { canZstd } from '../../pipeline/net/compress.ts'
import { byteSize, duration } from '../../pipeline/schema.ts'
import { isTimeFormat } from './time-format.ts'

const STORAGE_CLASSES = [
  'STANDARD',
  'STANDARD_IA',
  'ONEZONE_IA',
  'INTELLIGENT_TIERING',
  'GLACIER_IR',
  'GLACIER',
  'DEEP_ARCHIVE',
  'REDUCED_REDUNDANCY',
] as const
const ACLS = [
  'private',
  'public-read',
  'public-read-write',
  'authenticated-read',
  'aws-exec-read',
  'bucket-owner-read',
  'bucket-owner-full-control',
] as const

/** Slashes at either end are ours to set. */
const path = () =>
  z
    .string()
    .regex(/^[A-Za-z0-9!_.*'()=/-]*$/, "must be made of letters, digits and !_.*'()=/-")
    .refine((text) => !text.split('/').includes('..'), 'must not climb')
    .transform((text) => text.replace(/^\/+|\/+$/g, ''))

const uploader = z
  .strictObject({
    region: z.string().min(1).default('us-east-1').describe('Of the bucket.'),
    s3_bucket: z
      .string()
      .regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, 'must be the name of a bucket')
      .describe('The bucket. It must exist.'),
    s3_base_prefix: path().default('').describe('What all keys begin with.'),
    s3_prefix: path().default('').describe('What follows on `s3_base_prefix`.'),
    s3_partition_format: z
      .string()
      .default('year=%Y/month=%m/day=%d/hour=%H')
      .refine(isTimeFormat, "may hold %Y %m %d %H %M %j %s, letters, digits and !_.*'()=/-")
      .describe(
        'How objects are parted by the start of their spans (UTC, strftime); `tenant=<id>/` stands before it.',
      ),
    file_prefix: path()
      .refine((text) => !text.includes('/'), 'must be part of a name, without /')
      .default('')
      .describe('What the names of objects begin with.'),
    endpoint: z
      .string()
      .regex(/^https?:\/\/[^\s]+$/, 'must be http(s)://host:port')
      .optional()
      .describe('Of an S3-compatible store; AWS when left out.'),
    s3_force_path_style: z
      .boolean()
      .default(false)
      .describe('The bucket in the path instead of the host name, as most compatible stores want it.'),
    ...awsCredentials,
    storage_class: z
      .enum(STORAGE_CLASSES)
      .default('STANDARD')
      .describe('Of the objects; manifests are STANDARD.'),
    acl: z.enum(ACLS).optional().describe('A canned ACL, where the bucket has ACLs.'),
    server_side_encryption: z
      .enum(['AES256', 'aws:kms'])
      .optional()
      .describe('Asked for with each object. Left out: as the bucket does by default.'),
    kms_key_id: z.string().min(1).optional().describe('Key of `aws:kms`; the account’s own when left out.'),
    compression: z
      .enum(['none', 'gzip', 'zstd'])
      .default('gzip')
      .describe('Of each object; in Parquet of its pages. zstd needs Node.js 22.15.'),
    ...awsRetries,
  })
  .refine(hasBothKeys, {
    path: ['access_key_id'],
    message: 'access_key_id and secret_access_key are set together',
  })
  .refine((c) => c.kms_key_id === undefined || c.server_side_encryption === 'aws:kms', {
    path: ['kms_key_id'],
    message: 'needs server_side_encryption: aws:kms',
  })
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
export type Uploader = Config['s3uploader']
