import { z } from 'zod'
import { awsCredentials, awsRetries, hasBothKeys } from '../net/aws-client.ts'
import type { ClientTls } from '../net/client-tls.ts'

/** Config keys of whoever keeps things in a bucket, as in the collector's awss3 exporter; check them with `checkBucket`. */
export const bucketFields = {
  region: z.string().min(1).default('us-east-1').describe('Of the bucket.'),
  s3_bucket: z
    .string()
    .regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, 'must be the name of a bucket')
    .describe('The bucket. It must exist.'),
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
  server_side_encryption: z
    .enum(['AES256', 'aws:kms'])
    .optional()
    .describe('Asked for with each object. Left out: as the bucket does by default.'),
  kms_key_id: z.string().min(1).optional().describe('Key of `aws:kms`; the account’s own when left out.'),
  ...awsRetries,
}

const access = z.object(bucketFields)
type Access = z.output<typeof access>

/** What must hold between the keys of `bucketFields`. */
export function checkBucket(value: Access, issues: z.core.$RefinementCtx): void {
  if (!hasBothKeys(value)) {
    issues.addIssue({
      code: 'custom',
      path: ['access_key_id'],
      message: 'access_key_id and secret_access_key are set together',
    })
  }
  if (value.kms_key_id !== undefined && value.server_side_encryption !== 'aws:kms') {
    issues.addIssue({
      code: 'custom',
      path: ['kms_key_id'],
      message: 'needs server_side_encryption: aws:kms',
    })
  }
}

/** Part of a key; slashes at either end are ours to set. */
export function keyPath() {
  return z
    .string()
    .regex(/^[A-Za-z0-9!_.*'()=/-]*$/, "must be made of letters, digits and !_.*'()=/-")
    .refine((text) => !text.split('/').includes('..'), 'must not climb')
    .transform((text) => text.replace(/^\/+|\/+$/g, ''))
}

/** A bucket and how it is reached. */
export interface BucketAccess extends Access {
  readonly acl?: BucketAcl | undefined
}

export interface BucketOptions {
  readonly access: BucketAccess
  /** Of one attempt of one request. */
  readonly timeoutMs: number
  readonly tls?: ClientTls | undefined
}

export const ACLS = [
  'private',
  'public-read',
  'public-read-write',
  'authenticated-read',
  'aws-exec-read',
  'bucket-owner-read',
  'bucket-owner-full-control',
] as const
type BucketAcl = (typeof ACLS)[number]

export const STORAGE_CLASSES = [
  'STANDARD',
  'STANDARD_IA',
  'ONEZONE_IA',
  'INTELLIGENT_TIERING',
  'GLACIER_IR',
  'GLACIER',
  'DEEP_ARCHIVE',
  'REDUCED_REDUNDANCY',
] as const
export type StorageClass = (typeof STORAGE_CLASSES)[number]
