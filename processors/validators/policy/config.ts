import { z } from 'zod'
import { SEVERITIES } from '../validator.ts'
import { compile } from './expression.ts'

const rule = z
  .strictObject({
    name: z
      .string()
      .regex(/^[a-z][a-z0-9_]{0,63}$/, 'must be small letters, digits and _')
      .describe('Names the rule to senders and in verdicts.'),
    when: z
      .string()
      .min(1)
      .max(4000)
      .describe('CEL expression; the rule is broken where it is true. What is absent makes it not true.'),
    severity: z.enum(SEVERITIES).default('WARNING').describe('Of its finding.'),
    message: z
      .string()
      .max(300)
      .optional()
      .describe('What to tell people; no data is put into it. Default: that the rule is broken.'),
    scope: z
      .enum(['span', 'run'])
      .default('span')
      .describe('`span`: every span, at ingestion. `run`: every run, when it has ended.'),
  })
  .superRefine((value, context) => {
    const problem = compile(value.when, value.scope).problem
    if (problem !== undefined) context.addIssue({ code: 'custom', path: ['when'], message: problem })
  })

export const config = z.strictObject({
  rules: z.array(rule).max(200).default([]).describe('Your own rules.'),
})

export type Rule = z.output<typeof rule>
