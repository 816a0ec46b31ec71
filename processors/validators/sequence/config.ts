import { z } from 'zod'
import { agentPattern, stepPattern } from '../steps.ts'
import { SEVERITIES } from '../validator.ts'

const severity = z.enum(SEVERITIES)

export const config = z.strictObject({
  order: z
    .array(
      z.strictObject({
        agent: agentPattern().default('*').describe('Whose runs: a name, or `prefix*`.'),
        step: stepPattern().describe('What must not come first: `tool:refund`.'),
        after: stepPattern().describe('What must have come before it: `tool:verify_customer`.'),
        severity: severity.default('WARNING').describe('Of its findings.'),
      }),
    )
    .max(100)
    .default([])
    .describe('Steps that must come after others.'),
  severity: severity
    .default('WARNING')
    .describe(
      'Of requests without a response, responses without a request, and events after the final output.',
    ),
  orphans: z
    .union([severity, z.literal('NONE')])
    .default('INFO')
    .describe('Of spans whose parent is not in the run: something was not sent. NONE: no finding.'),
})
