import canonicalize from 'canonicalize'
import { z } from 'zod'
import { isDeeper } from '../../pipeline/agent/check.ts'
import { agentId, runId } from '../../pipeline/agent/event.ts'
import type { RunInfo } from '../../pipeline/agent/run-record.ts'
import type { RunLabels } from '../../pipeline/agent/spans.ts'
import { Invalid } from './invalid.ts'

const word = () => z.string().min(1).max(256)

/** Body of a request that starts a run. Everything of no key of its own is metadata. */
export const startBody = z
  .looseObject({
    run_id: runId()
      .optional()
      .describe('Unique within the tenant, best a UUID; absent: the server makes one.'),
    agent_id: agentId(),
    agent_name: word().nullish(),
    agent_version: word().nullish(),
    session_id: word().nullish().describe('The conversation that the run belongs to.'),
    user_id: word().nullish().describe('Who the agent works for.'),
    scenario: z.union([word(), z.number()]).nullish().describe('What is being tried.'),
    seed: z.number().int().nullish(),
    model: word().nullish(),
    provider: word().nullish(),
    temperature: z.number().nullish(),
    parameters: z.record(z.string(), z.unknown()).nullish().describe('Further parameters of the model.'),
    metadata: z.record(z.string(), z.unknown()).nullish().describe('Anything; attributes of the run.'),
  })
  .meta({ id: 'StartRun' })

export const finishBody = z
  .looseObject({
    status: z.enum(['completed', 'failed', 'abandoned']).default('completed').describe('How the run ended.'),
    error: z.string().max(4096).nullish().describe('Why it failed.'),
  })
  .meta({ id: 'FinishRun' })

type StartBody = z.output<typeof startBody>
type Attribute = RunInfo['attributes'][number]

const MAX_ATTRIBUTES = 128
const MAX_BYTES = 64 * 1024
const MAX_DEPTH = 32
/** Parameters that the GenAI conventions have a name for. */
const PARAMETERS: ReadonlySet<string> = new Set([
  'top_p',
  'top_k',
  'max_tokens',
  'frequency_penalty',
  'presence_penalty',
  'seed',
  'temperature',
])

export interface Start {
  readonly id: string | undefined
  readonly labels: RunLabels
  readonly info: RunInfo
}

/** Throws Invalid. */
export function startOf(value: unknown): Start {
  if (isDeeper(value, MAX_DEPTH))
    throw new Invalid([{ field: '', message: `is nested deeper than ${MAX_DEPTH} levels` }])
  const body = checked(startBody, value)
  const attributes = attributesOf(body)
  const bytes = attributes.reduce((sum, [key, text]) => sum + key.length + String(text).length, 0)
  if (attributes.length > MAX_ATTRIBUTES || bytes > MAX_BYTES) {
    const message = `a run has up to ${MAX_ATTRIBUTES} attributes of ${MAX_BYTES} bytes in all`
    throw new Invalid([{ field: 'metadata', message }])
  }
  return { id: body.run_id, labels: labelsOf(body), info: { attributes } }
}

/** Throws Invalid with each field. */
export function checked<S extends z.ZodType>(schema: S, value: unknown): z.output<S> {
  const result = schema.safeParse(value ?? {})
  if (result.success) return result.data
  throw new Invalid(
    result.error.issues.map(({ path, message }) => ({
      field: path.map(String).join('.').slice(0, 200),
      message,
    })),
  )
}

function labelsOf(body: StartBody): RunLabels {
  return {
    agentId: String(body.agent_id),
    agentName: body.agent_name ?? undefined,
    agentVersion: body.agent_version ?? undefined,
    sessionId: body.session_id ?? undefined,
    userId: body.user_id ?? undefined,
  }
}

const OWN: ReadonlySet<string> = new Set(Object.keys(startBody.shape))

function attributesOf(body: StartBody): Attribute[] {
  const attributes: Attribute[] = []
  const add = (key: string, value: unknown) => {
    if (value !== undefined && value !== null) attributes.push([key, scalar(value)])
  }
  add('agent.run.scenario', body.scenario)
  add('gen_ai.request.seed', body.seed)
  add('gen_ai.request.model', body.model)
  add('gen_ai.provider.name', body.provider)
  add('gen_ai.request.temperature', body.temperature)
  for (const [key, value] of Object.entries(body.parameters ?? {})) {
    if (!PARAMETERS.has(key)) add(`agent.run.parameter.${key}`, value)
    else if (body[key] === undefined || body[key] === null) add(`gen_ai.request.${key}`, value)
  }
  for (const [key, value] of Object.entries(body.metadata ?? {})) add(`agent.run.metadata.${key}`, value)
  for (const [key, value] of Object.entries(body)) {
    if (!OWN.has(key) && !Object.hasOwn(body.metadata ?? {}, key)) add(`agent.run.metadata.${key}`, value)
  }
  return attributes
}

function scalar(value: unknown): string | number | boolean {
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return value
  try {
    return canonicalize(value) ?? ''
  } catch {
    throw new Invalid([{ field: 'metadata', message: 'has no canonical JSON (RFC 8785)' }])
  }
}
