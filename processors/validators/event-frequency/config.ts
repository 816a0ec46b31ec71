import { z } from 'zod'
import { duration } from '../../../pipeline/schema.ts'
import { agentPattern, stepPattern } from '../steps.ts'
import { SEVERITIES } from '../validator.ts'

const severity = z.enum(SEVERITIES)

export const config = z.strictObject({
  limits: z
    .array(
      z.strictObject({
        agent: agentPattern().default('*').describe('Whose runs: a name, or `prefix*`.'),
        step: stepPattern().default('*').describe('What is counted: `error`, `chat`, `tool:search*`, `*`.'),
        max: z.number().int().positive().describe('As many are allowed.'),
        per: duration().prefault('0').describe('In any time as long as this. 0: in the run.'),
        severity: severity.default('WARNING').describe('Of its findings.'),
      }),
    )
    .max(100)
    .default([])
    .describe('How often steps may occur in a run.'),
  max_repeats: z
    .number()
    .int()
    .nonnegative()
    .default(10)
    .describe('The same tool call with the same parameters, oftener than this in a run, is a loop. 0: any.'),
  unusual: z
    .number()
    .nonnegative()
    .default(8)
    .describe(
      'Across runs: a run with so many times the usual deviation (median absolute) of steps from what is usual (median) for its agent. 0: any.',
    ),
  min_runs: z
    .number()
    .int()
    .min(5)
    .default(20)
    .describe('Across runs: fewer runs of an agent in the interval have nothing usual.'),
  severity: severity.default('WARNING').describe('Of loops and of unusual runs.'),
})
