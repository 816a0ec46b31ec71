import { z } from 'zod'
import { TENANT } from '../../pipeline/admission.ts'
import { duration, secret } from '../../pipeline/schema.ts'
import { TYPES } from '../../pipeline/privacy/pseudonyms.ts'
import { MODES } from './policy.ts'

const mode = z.enum(MODES)

const modes = z.partialRecord(z.enum(TYPES), mode)

const names = z.array(z.string().min(1).max(128))

const rule = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z][a-z0-9_]{0,40}$/, 'must be small letters, digits and _')
    .refine((name) => !(TYPES as readonly string[]).includes(name), 'is the name of a built-in detector')
    .describe('Names it in metrics and in the mask: `employee_id` writes `[REDACTED_EMPLOYEE_ID]`.'),
  pattern: z
    .string()
    .min(2)
    .max(1000)
    .describe(
      'Regular expression without look-around and back-references; its first group, or else all of it, is replaced. It runs in linear time.',
    ),
  ignore_case: z.boolean().default(false).describe('Letters match in either case.'),
  keywords: z
    .array(z.string().regex(/^[\x21-\x7e]{3,64}$/, 'must be 3 to 64 ASCII characters without spaces'))
    .min(1)
    .describe(
      'The rule runs only on texts that hold one of these, in any case: what keeps clean spans cheap.',
    ),
  mode: mode.optional().describe('Default: `mode`.'),
})

export const config = z.strictObject({
  mode: mode
    .default('mask')
    .describe(
      'What is done with what is found. mask: `[REDACTED_EMAIL]`; hash: a pseudonym, `<EMAIL:9f3a…>`, the same for the same value of a tenant; remove: cut out; full: the whole value becomes `[REDACTED_ALL]`; none: left.',
    ),
  detectors: modes.default({}).describe('Modes for single kinds of data: `ip: none`, `email: hash`.'),
  tenants: z
    .record(
      z.string().regex(TENANT, 'must be a tenant id'),
      z.strictObject({
        mode: mode.optional().describe('Default: `mode` and `detectors` of all.'),
        detectors: modes
          .default({})
          .describe('Where `mode` is given they stand alone, else over `detectors` of all.'),
      }),
    )
    .default({})
    .describe('Modes of single tenants, by id.'),
  sensitive_keys: names
    .default([])
    .describe(
      'Further names whose values are always replaced, beside `password`, `api_key`, `cookie` and the like.',
    ),
  safe_keys: names.default([]).describe('Names that are never taken for sensitive; they win.'),
  rules: z.array(rule).default([]).describe('Your own kinds of data.'),
  salt: secret()
    .optional()
    .describe(
      'What pseudonyms and hashes are keyed with, at least 32 characters; each tenant gets its own from it. Default: one is made and kept in the state store, sealed where there is a master key.',
    ),
  log_interval: duration()
    .prefault('1m')
    .describe(
      'How often the redaction log says what was replaced: rule, path and count, per tenant. 0: never.',
    ),
})

export type SanitizerConfig = z.output<typeof config>
export type CustomRule = z.output<typeof rule>
