import { z } from 'zod'
import { TENANT } from '../../pipeline/admission.ts'
import { instant } from '../../pipeline/schema.ts'

/** A verb's `--arg` brings texts. */
const flag = z
  .union([z.boolean(), z.enum(['true', 'false']).transform((text) => text === 'true')])
  .default(false)
const seq = z.coerce.number().int().min(1).optional()

export const params = z
  .strictObject({
    pipeline: z.string().min(1).describe('The store pipeline whose processors are passed.'),
    exporter: z.string().min(1).optional().describe('Which of its exporters, where it has several.'),
    source: z
      .string()
      .min(1)
      .default('auto')
      .describe(
        '`wal`, `s3:<exporter>`, `file:<exporter>`, a path, or `auto`: the WAL, before it the archive.',
      ),
    prefix: z
      .string()
      .optional()
      .describe('Keys of the archive that begin so, instead of what the exporter writes.'),
    from: instant().optional().describe('Spans that started then or later.'),
    to: instant().optional().describe('Spans that started before.'),
    from_seq: seq.describe('First sequence of the WAL.'),
    to_seq: seq.describe('Last sequence of the WAL.'),
    tenant: z
      .string()
      .regex(TENANT)
      .optional()
      .describe('Only its spans; whose a file’s are, which does not say.'),
    run: z.string().min(1).max(200).optional().describe('Only the spans of this run.'),
    trace: z
      .string()
      .regex(/^[0-9a-f]{32}$/i, 'must be 32 hexadecimal digits')
      .transform((text) => text.toLowerCase())
      .optional()
      .describe('Only the spans of this trace.'),
    rate: z.coerce.number().positive().optional().describe('Spans per second, at most.'),
    replace: flag.describe('Spans that the store holds are replaced by what the pipeline makes of them now.'),
    reprice: flag.describe('Spans that the store holds get the prices of now.'),
  })
  .refine(({ from, to }) => from === undefined || to === undefined || from <= to, {
    path: ['to'],
    error: 'must not be before from',
  })
  .refine((p) => p.from_seq === undefined || p.to_seq === undefined || p.from_seq <= p.to_seq, {
    path: ['to_seq'],
    error: 'must not be before from_seq',
  })
  .refine((p) => !p.replace || !p.reprice, {
    path: ['reprice'],
    error: 'is not needed with replace, which prices anew what it replaces',
  })
  .refine((p) => !p.reprice || (p.run === undefined && p.trace === undefined), {
    path: ['reprice'],
    error: 'goes by time and tenant: for a run or trace use replace',
  })
  .refine((p) => (p.from_seq === undefined && p.to_seq === undefined) || ['wal', 'auto'].includes(p.source), {
    path: ['from_seq'],
    error: 'is of the WAL: leave out source, or name wal',
  })

export type Params = z.output<typeof params>
