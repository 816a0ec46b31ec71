import { z } from 'zod'
import { agentPattern } from '../steps.ts'
import { SEVERITIES } from '../validator.ts'
import { compile } from './parameters.ts'

const orNone = z.enum([...SEVERITIES, 'NONE'])

const action = z
  .string()
  .min(1)
  .max(256)
  .regex(/^[^*]*\*?$/, 'may have * at its end only')

const schema = z.record(z.string(), z.unknown()).superRefine((value, context) => {
  const problem = compile(value).problem
  if (problem !== undefined) context.addIssue({ code: 'custom', message: problem })
})

export const config = z.strictObject({
  agents: z
    .array(
      z.strictObject({
        agent: agentPattern().describe('A name or id of agents, or `prefix*`; `*`: every one.'),
        allow: z
          .array(action)
          .max(1000)
          .optional()
          .describe('Actions that it may take: names, `prefix*`. Default: any.'),
        deny: z.array(action).max(1000).default([]).describe('Actions that it may not take; they win.'),
      }),
    )
    .max(1000)
    .default([])
    .describe(
      'Who may do what. The first entry that fits the agent counts; an agent without one may do anything.',
    ),
  parameters: z
    .array(
      z.strictObject({
        action: action.describe('A name, or `prefix*`.'),
        schema: schema.describe(
          'JSON Schema of its parameters; patterns without look-around and back-references.',
        ),
      }),
    )
    .max(1000)
    .default([])
    .describe('What the parameters of actions must be like. The first entry that fits counts.'),
  severity: z
    .enum(SEVERITIES)
    .default('ERROR')
    .describe('Of actions that are not allowed, and of bad parameters.'),
  injection: orNone
    .default('WARNING')
    .describe('Of parameters that look like injected shell commands or SQL. NONE: they are not looked at.'),
  code_actions: z
    .array(action)
    .max(1000)
    .default([
      'bash*',
      'shell*',
      'terminal*',
      'execute_command*',
      'run_command*',
      'sql*',
      'query*',
      'execute_sql*',
    ])
    .describe('Actions whose parameters are commands or SQL by trade: they are not looked at for injection.'),
})
