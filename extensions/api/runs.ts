import { z } from 'zod'
import { TENANT } from '../../pipeline/admission.ts'
import { reject, retry } from '../../pipeline/fault.ts'
import type { Host } from '../../pipeline/host.ts'
import { DiffDesk } from '../../pipeline/runs/diff/desk.ts'
import { profileConfig } from '../../pipeline/runs/diff/profile.ts'
import { fixtureOf } from '../../pipeline/runs/fixture.ts'
import { loadRun, type RunRef } from '../../pipeline/runs/load.ts'
import type { RunSteps, Step } from '../../pipeline/runs/steps.ts'
import type { config } from './config.ts'
import { tenantOf } from './query.ts'
import { bodyOf, ok, type Call, type Reply, type Route } from './route.ts'

const id = z.string().min(1).max(256)
const tenant = z.string().regex(TENANT).optional()

const wanted = z.strictObject({ tenant, of: z.enum(['error', 'success']).optional() })
const compared = z.strictObject({
  a: id.describe('A run id or a trace id.'),
  b: id,
  tenant,
  profile: z.union([z.string(), profileConfig]).default('default'),
})

/** Runs as they are stored: their steps, one against another, one as a test fixture. */
export function runRoutes(host: Host, { query, diff }: z.output<typeof config>): readonly Route[] {
  const ask = host.query.bind(host)
  const desk = new DiffDesk(ask, diff.profiles, diff.cache)
  const gate = new Gate(query.max_concurrent)
  const base = { role: 'read', scope: 'tenant' } as const
  const load = async (call: Call): Promise<readonly [RunSteps, z.output<typeof wanted>]> => {
    const options = bodyOf(wanted, Object.fromEntries(call.query))
    return [await loadRun(ask, refOf(call, call.params['run'] ?? '', options.tenant), call.signal), options]
  }
  const compare = async (call: Call, input: unknown): Promise<Reply> => {
    const { a, b, profile, tenant: of } = bodyOf(compared, input)
    const made = await desk.diff(refOf(call, a, of), refOf(call, b, of), profile, call.signal)
    const noted = { object: `${a} ${b}`, ...(of !== undefined && { tenant: of }) }
    return ok({ ...(snake(made.diff) as object), cached: made.cached }, noted)
  }
  const show = async (call: Call): Promise<Reply> => {
    const [run, { tenant: of }] = await load(call)
    return ok({ run: shownRun(run) }, of === undefined ? {} : { tenant: of })
  }
  const fixture = async (call: Call): Promise<Reply> => {
    const [run, { of }] = await load(call)
    return ok(fixtureOf(run, of))
  }
  const read = { ...base, method: 'GET', audit: { action: 'run.read' } } as const
  const diffing = { ...base, path: '/v1/diff', audit: { action: 'run.diff', reads: true } } as const
  const compareBy = (input: (call: Call) => unknown): Route['handle'] => {
    return (call) => gate.pass(() => compare(call, input(call)))
  }
  return [
    { ...read, path: '/v1/runs/{run}', handle: (call) => gate.pass(() => show(call)) },
    { ...read, path: '/v1/runs/{run}/fixture', handle: (call) => gate.pass(() => fixture(call)) },
    { ...diffing, method: 'GET', handle: compareBy((call) => Object.fromEntries(call.query)) },
    { ...diffing, method: 'POST', handle: compareBy((call) => call.body) },
  ]
}

/** A run is read whole: so many at once, and no more. */
class Gate {
  readonly #most: number
  #inside = 0

  constructor(most: number) {
    this.#most = most
  }

  async pass(work: () => Promise<Reply>): Promise<Reply> {
    if (this.#inside >= this.#most)
      throw retry('OVERLOADED', `${this.#inside} runs are being read already`, 1000)
    this.#inside++
    try {
      return await work()
    } finally {
      this.#inside--
    }
  }
}

/** Of the token's tenant, or of the one that who may see all asks for. */
function refOf({ principal }: Call, run: string, asked: string | undefined): RunRef {
  const own = tenantOf(principal)
  if (own !== undefined && asked !== undefined && own !== asked) {
    throw reject('PERMISSION_DENIED', 'the token is for another tenant')
  }
  return { id: run, tenant: own ?? asked }
}

function shownRun({ steps, output, ...run }: RunSteps) {
  return {
    ...(snake(run) as object),
    settings: run.settings,
    output: output && { from: output.from, value: output.value },
    steps: steps.map(shownStep),
  }
}

function shownStep({ input, output, ...step }: Step) {
  return {
    ...(snake(step) as object),
    ...(input !== undefined && { input: input.value }),
    ...(output !== undefined && { output: output.value }),
  }
}

/** Our own records with names as the API writes them; never what was recorded. */
function snake(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(snake)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [
      key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      snake(item),
    ]),
  )
}
