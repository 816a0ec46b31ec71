import { z } from 'zod'
import { SEVERITIES } from '../validator.ts'

const severity = z.enum(SEVERITIES)

export const config = z.strictObject({
  severity: severity.default('INFO').describe('Of what the sanitizer found, unless `types` says otherwise.'),
  types: z
    .record(z.string(), z.union([severity, z.literal('NONE')]))
    .prefault({ secret: 'WARNING', private_key: 'WARNING', card: 'WARNING' })
    .describe(
      "Severities of single kinds of data, by the sanitizer's names: `email`, `card`, your own rules. NONE: no finding.",
    ),
})
