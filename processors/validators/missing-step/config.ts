import { z } from 'zod'
import { agentPattern, stepPattern } from '../steps.ts'
import { SEVERITIES } from '../validator.ts'

const severity = z.enum(SEVERITIES)

export const config = z.strictObject({
  workflows: z
    .array(
      z.strictObject({
        agent: agentPattern().default('*').describe('Whose runs: a name, or `prefix*`.'),
        steps: z
          .array(stepPattern())
          .min(1)
          .max(100)
          .describe('What every such run must have: `final_output`, `chat`, `tool:verify_customer`.'),
        severity: severity.default('WARNING').describe('Of its findings.'),
      }),
    )
    .max(100)
    .default([])
    .describe('Steps that runs must have. Every entry that fits the agent counts.'),
  final_output: z
    .union([severity, z.literal('NONE')])
    .default('INFO')
    .describe('Of a run of events that says it completed and has no `final_output`. NONE: no finding.'),
})
