import { z } from 'zod'
import { SEVERITIES } from '../validator.ts'

const severity = z.enum([...SEVERITIES, 'NONE'])

export const config = z.strictObject({
  direct: severity
    .default('WARNING')
    .describe(
      'Severity of an attack in what the user wrote; NONE: not looked for. ERROR rejects the span at the default `threshold`, and the evidence is lost with it.',
    ),
  indirect: severity
    .default('WARNING')
    .describe('Severity of instructions to the model in what a tool returned or a document holds.'),
  exfiltration: severity
    .default('WARNING')
    .describe('Severity of an image or link in Markdown that carries data to its host.'),
  trusted_hosts: z
    .array(z.string().toLowerCase())
    .default([])
    .describe('Hosts, and what is below them, to which images and links may carry data.'),
})
