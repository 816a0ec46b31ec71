import { z } from 'zod'
import { canZstd } from '../../pipeline/net/compress.ts'
import { duration } from '../../pipeline/schema.ts'

const rotation = z
  .strictObject({
    max_megabytes: z
      .number()
      .positive()
      .default(100)
      .describe('A file that would grow beyond it is put aside; one delivery is never cut in two.'),
    daily: z.boolean().default(false).describe('Put the file aside at every change of the day.'),
    max_days: z
      .number()
      .int()
      .min(0)
      .default(0)
      .describe('Delete files that were put aside longer ago. 0: none.'),
    max_backups: z
      .number()
      .int()
      .min(0)
      .default(100)
      .describe('Keep so many files that were put aside, the newest. 0: all.'),
    localtime: z.boolean().default(false).describe('Days and file names by local time instead of UTC.'),
  })
  .describe('When a new file is begun. Left out: never.')

/** Keys as in the collector's file exporter where they mean the same. */
export const config = z
  .strictObject({
    path: z.string().min(1).describe('The file. It is appended to; what was put aside stands beside it.'),
    format: z
      .enum(['json', 'proto'])
      .default('json')
      .describe(
        'json: an OTLP/JSON object per line; proto: OTLP protobuf, each message behind its length in 4 bytes, big-endian.',
      ),
    compression: z
      .enum(['none', 'gzip', 'zstd'])
      .default('none')
      .describe(
        'Of each delivery; the file as a whole reads with zcat or zstdcat. zstd needs Node.js 22.15.',
      ),
    rotation: rotation.optional(),
    create_directory: z.boolean().default(true).describe('Make the directory of `path` where it is missing.'),
    flush_interval: duration()
      .prefault('1s')
      .describe('How long the first span of a delivery waits for others.'),
    durability: z
      .enum(['process', 'strict'])
      .default('process')
      .describe('`strict`: every delivery is synced to disk before the WAL may forget it.'),
  })
  .refine((c) => c.compression !== 'zstd' || canZstd, {
    path: ['compression'],
    message: 'zstd needs Node.js 22.15 or newer; use gzip',
  })

export type Config = z.output<typeof config>
