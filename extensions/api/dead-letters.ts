import { z } from 'zod'
import { TENANT } from '../../pipeline/admission.ts'
import { decodeBatch } from '../../pipeline/batch/otlp-batch.ts'
import { faultOf, reject } from '../../pipeline/fault.ts'
import type { Host } from '../../pipeline/host.ts'
import type { DeadLetter } from '../../pipeline/wal/dead-letter.ts'
import type { LetterDesk, LetterFilter, LetterResult } from '../../pipeline/wal/letter-desk.ts'
import { bodyOf, ok, type Call, type Reply, type Route } from './route.ts'

const MAX_IDS = 1000
const MAX_LETTERS = 10_000
/** Larger content is told by its size only. */
const MAX_SHOWN_BYTES = 8 * 1024 * 1024

const instant = z.iso.datetime({ offset: true }).transform((text) => Date.parse(text))

const filter = {
  connector: z.string().optional(),
  tenant: z.string().regex(TENANT).optional(),
  component: z.string().optional(),
  cursor: z.string().optional(),
  reason: z.string().max(500).optional(),
  since: instant.optional(),
  until: instant.optional(),
}
const listing = z.strictObject({
  ...filter,
  limit: z.coerce.number().int().min(1).max(MAX_LETTERS).default(100),
})
const order = z
  .strictObject({
    ...filter,
    ids: z.array(z.string()).min(1).max(MAX_IDS).optional(),
    all: z.boolean().default(false),
    limit: z.int().min(1).max(MAX_LETTERS).default(1000),
  })
  .refine(
    ({ limit: _limit, all, ...which }) => all || Object.values(which).some((value) => value !== undefined),
    {
      message: 'say which: ids, a filter, or all',
    },
  )

type Which = Omit<z.output<typeof order>, 'all' | 'limit'>

/** Dead letters. Whoever is admin of one tenant sees and moves that tenant's only. */
export function deadLetterRoutes(host: Host): readonly Route[] {
  const common = { role: 'admin', scope: 'tenant' } as const
  return [
    { ...common, method: 'GET', path: '/v1/dead-letters', audit: false, handle: (call) => list(host, call) },
    {
      ...common,
      method: 'GET',
      path: '/v1/dead-letters/{id}',
      audit: { action: 'dead_letter.read' },
      handle: (call) => show(host, call),
    },
    {
      ...common,
      method: 'POST',
      path: '/v1/dead-letters/retry',
      audit: { action: 'dead_letter.retry' },
      handle: (call) => retry(host, call),
    },
    {
      ...common,
      method: 'POST',
      path: '/v1/dead-letters/purge',
      audit: { action: 'dead_letter.purge' },
      handle: (call) => purge(host, call),
    },
  ]
}

async function list(host: Host, call: Call): Promise<Reply> {
  const { limit, ...which } = bodyOf(listing, Object.fromEntries(call.query))
  const found = await Promise.all(
    desksOf(host, which).map(async (desk) =>
      (await desk.list(filterOf(which, call))).map((letter) => shown(letter, desk)),
    ),
  )
  const letters = found.flat()
  const spans = letters.reduce((sum, letter) => sum + letter.spans, 0)
  return ok({ dead_letters: letters.slice(0, limit), letters: letters.length, spans })
}

async function show(host: Host, call: Call): Promise<Reply> {
  const id = call.params['id'] ?? ''
  for (const desk of host.letterDesks()) {
    const found = await desk.get(id, call.principal.tenant).catch((error: unknown) => {
      if (faultOf(error)?.code !== 'NOT_FOUND') throw error
    })
    if (found === undefined) continue
    return ok(
      { dead_letter: shown(found.letter, desk), content: contentOf(found.letter, found.body) },
      { tenant: found.letter.tenant },
    )
  }
  throw reject('NOT_FOUND', `there is no dead letter ${id}`)
}

/** Of spans OTLP/JSON; of other bytes base64. */
function contentOf({ format, tenant }: DeadLetter, body: Uint8Array): unknown {
  if (format === 'none' || body.length > MAX_SHOWN_BYTES) return null
  if (format === 'raw') return { base64: Buffer.from(body).toString('base64') }
  const meta = { signal: 'traces', tenant, project: '', principal: '', source: '', receivedAtMs: 0 } as const
  return JSON.parse(decodeBatch(body, { ...meta, digest: new Uint8Array(16) }).toJson())
}

function retry(host: Host, call: Call): Promise<Reply> {
  return each(host, call, (desk, which, limit) => desk.retry(which, limit, call.signal))
}

function purge(host: Host, call: Call): Promise<Reply> {
  return each(host, call, (desk, which, limit) => desk.purge(which, limit))
}

async function each(
  host: Host,
  call: Call,
  work: (desk: LetterDesk, which: LetterFilter, limit: number) => Promise<LetterResult>,
): Promise<Reply> {
  const { all: _all, limit, ...which } = bodyOf(order, call.body)
  const results: LetterResult[] = []
  for (const desk of desksOf(host, which)) results.push(await work(desk, filterOf(which, call), limit))
  const sum = (of: 'letters' | 'spans' | 'left') => results.reduce((total, result) => total + result[of], 0)
  const failed = results.flatMap((result) => result.failed)
  const [letters, spans, left] = [sum('letters'), sum('spans'), sum('left')]
  const by = Object.keys(which).filter((key) => which[key as keyof Which] !== undefined)
  return ok(
    { letters, spans, failed, left },
    {
      ...(which.tenant !== undefined && { tenant: which.tenant }),
      details: {
        letters,
        spans,
        failed: failed.length,
        by,
        ...(which.ids && { ids: which.ids.slice(0, 32) }),
      },
    },
  )
}

function desksOf(host: Host, { connector }: Pick<Which, 'connector'>): LetterDesk[] {
  return host.letterDesks().filter((desk) => connector === undefined || desk.connector === connector)
}

function filterOf(which: Which, { principal }: Call): LetterFilter {
  const { since, until, ids, component, cursor, reason } = which
  const tenant = principal.tenant ?? which.tenant
  return { ids, tenant, component, cursor, reason, sinceMs: since, untilMs: until }
}

function shown(letter: DeadLetter, { connector }: LetterDesk) {
  const { firstMs, lastMs, receivedAtMs, origin, ...facts } = letter
  return {
    ...facts,
    connector,
    first: timeOf(firstMs),
    last: timeOf(lastMs),
    received: timeOf(receivedAtMs),
    ...(origin !== undefined && { origin }),
  }
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString()
}
