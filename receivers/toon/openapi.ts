import { z } from 'zod'
import { toonEvent } from '../../pipeline/agent/event.ts'
import { finishBody, startBody } from './start.ts'

/** The receiver's API as OpenAPI 3.1, from the schemas that requests are checked by. docs/toon-openapi.json is its copy. */
export function openApi(): object {
  const { schemas } = z.toJSONSchema(SCHEMAS, {
    uri: (id) => `#/components/schemas/${id}`,
    io: 'input',
    target: 'draft-2020-12',
  })
  for (const schema of Object.values(schemas)) {
    delete (schema as { $schema?: unknown }).$schema
    delete (schema as { $id?: unknown }).$id
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'weir toon receiver',
      version: '1',
      description:
        'Runs of agents, event by event or in batches. A 2xx answer means that the write-ahead log has the data.',
    },
    servers: [{ url: 'http://127.0.0.1:4319' }],
    paths: PATHS,
    components: { schemas, responses: { Problem: PROBLEM } },
  }
}

/** The text of docs/toon-openapi.json. */
export function openApiFile(): string {
  return `${JSON.stringify(openApi(), null, 2)}\n`
}

const appended = z
  .object({
    accepted: z.int().describe('Events taken.'),
    first_seq: z.int().describe('Lowest number of theirs.'),
    last_seq: z.int().describe('Highest number of theirs.'),
    duplicates: z
      .int()
      .describe('Events left out: an earlier one of the request has their meta.idempotency_key.'),
  })
  .meta({ id: 'Appended' })

const started = z
  .object({
    run_id: z.string(),
    trace_id: z.string().describe('Of the run as a trace; 32 hex digits.'),
    status: z.literal('running'),
    created_at: z.iso.datetime(),
  })
  .meta({ id: 'Started' })

const run = z
  .object({
    run_id: z.string(),
    status: z.enum(['running', 'completed', 'failed', 'abandoned']),
    agent_id: z.string().optional(),
    events: z.int(),
    last_seq: z.int(),
    created_at: z.iso.datetime(),
    finished_at: z.iso.datetime().optional(),
  })
  .meta({ id: 'Run' })

const appendedRuns = z
  .object({
    accepted: z.int(),
    first_seq: z.int().optional().describe('Where all events are of one run.'),
    last_seq: z.int().optional(),
    duplicates: z.int(),
    runs: z.array(appended.extend({ run_id: z.string() })),
  })
  .meta({ id: 'AppendedRuns' })

const problem = z
  .object({
    type: z.string().describe('`urn:weir:` and the fault, e.g. urn:weir:seq-conflict; about:blank.'),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    errors: z
      .array(z.object({ index: z.int().optional(), field: z.string(), message: z.string() }))
      .optional()
      .describe('What is wrong where; `index` is the event’s place in the request.'),
  })
  .meta({ id: 'Problem' })

const batch = z
  .union([toonEvent, z.array(toonEvent), z.object({ events: z.array(toonEvent) })])
  .meta({ id: 'Events' })

const SCHEMAS = z.registry<{ id?: string }>()
for (const schema of [
  toonEvent,
  batch,
  startBody,
  finishBody,
  appended,
  started,
  run,
  appendedRuns,
  problem,
]) {
  SCHEMAS.add(schema, { id: schema.meta()?.id ?? '' })
}

const ref = (name: string) => ({ $ref: `#/components/schemas/${name}` })
const json = (name: string) => ({ 'application/json': { schema: ref(name) } })
const PROBLEM = {
  description: 'RFC 9457 problem details.',
  content: { 'application/problem+json': { schema: ref('Problem') } },
}

const EVENTS_BODY = {
  required: true,
  content: {
    ...json('Events'),
    'application/x-ndjson': { schema: { type: 'string', description: 'An event per line, as JSON.' } },
    'text/toon': { schema: { type: 'string', description: 'The same as application/json, in TOON.' } },
  },
}

const RUN_ID = { name: 'run_id', in: 'path', required: true, schema: { type: 'string', maxLength: 200 } }
const KEY = {
  name: 'Idempotency-Key',
  in: 'header',
  description:
    'Required for more than one event, unless each has a meta.idempotency_key. The same for every attempt.',
  schema: { type: 'string', maxLength: 255 },
}
const TRACEPARENT = {
  name: 'traceparent',
  in: 'header',
  description: 'W3C Trace Context; the first of a run links its root span to the caller.',
  schema: { type: 'string' },
}

function refusals(...statuses: readonly number[]): object {
  return Object.fromEntries(
    statuses.map((status) => [String(status), { $ref: '#/components/responses/Problem' }]),
  )
}

const COMMON = [400, 401, 403, 413, 415, 422, 429, 503]

function operation(
  operationId: string,
  summary: string,
  success: readonly [status: number, schema: string],
  rest: object,
): object {
  const [status, schema] = success
  return {
    operationId,
    summary,
    ...rest,
    responses: {
      [status]: { description: 'Done.', content: json(schema) },
      ...refusals(...COMMON, 404, 409),
    },
  }
}

const start = (id: string) =>
  operation(id, 'Start a run.', [201, 'Started'], {
    parameters: [KEY, TRACEPARENT],
    requestBody: { required: true, content: json('StartRun') },
  })
const append = (id: string) =>
  operation(id, 'Add events to a run: all or none.', [202, 'Appended'], {
    parameters: [RUN_ID, KEY, TRACEPARENT],
    requestBody: EVENTS_BODY,
  })
const appendMany = (id: string) =>
  operation(id, 'Add events to the runs that their meta.run_id names: all or none.', [202, 'AppendedRuns'], {
    parameters: [KEY, TRACEPARENT],
    requestBody: EVENTS_BODY,
  })
const finish = (id: string) =>
  operation(id, 'Close a run; later events are refused.', [200, 'Run'], {
    parameters: [RUN_ID, TRACEPARENT],
    requestBody: { required: false, content: json('FinishRun') },
  })
const read = (id: string) => operation(id, 'How a run stands.', [200, 'Run'], { parameters: [RUN_ID] })

const PATHS = {
  '/v1/runs': { post: start('startRun') },
  '/v1/runs/{run_id}': { get: read('readRun') },
  '/v1/runs/{run_id}/events': { post: append('appendEvents') },
  '/v1/runs/{run_id}/steps': { post: append('appendSteps') },
  '/v1/runs/{run_id}/finish': { post: finish('finishRun') },
  '/v1/runs/{run_id}:finish': { post: finish('finishRunAlias') },
  '/v1/events': { post: appendMany('appendEventsOfRuns') },
  '/api/runs/': { post: start('startRunOld') },
  '/api/runs/{run_id}/': { get: read('readRunOld') },
  '/api/runs/{run_id}/events/': { post: append('appendEventsOld') },
  '/api/runs/{run_id}/finalize/': { post: finish('finalizeRunOld') },
  '/api/trace-events/batch/': { post: appendMany('appendBatchOld') },
}
