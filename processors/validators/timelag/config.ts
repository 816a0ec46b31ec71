import { z } from 'zod'
import { duration } from '../../../pipeline/schema.ts'
import { stepPattern } from '../steps.ts'
import { SEVERITIES } from '../validator.ts'

export const config = z.strictObject({
  max_gap: duration()
    .prefault('10m')
    .describe('Longest time in which nothing happens between two steps. 0: any.'),
  max_run: duration().prefault('0').describe('Longest run. 0: any.'),
  max_clock_skew: duration()
    .prefault('5s')
    .describe('How much earlier than the event before it an event may say that it happened. 0: any.'),
  gaps: z
    .array(
      z.strictObject({
        from: stepPattern().describe('A step: `chat`, `final_output`, `tool:search*`.'),
        to: stepPattern().describe('The next step of this kind after it.'),
        max: duration().describe('Longest time from the end of the one to the start of the other.'),
      }),
    )
    .max(100)
    .default([])
    .describe('Times between steps of certain kinds.'),
  severity: z.enum(SEVERITIES).default('WARNING').describe('Of its findings.'),
})
