import { z } from 'zod'
import { TENANT } from '../../pipeline/admission.ts'
import { byteSize, duration } from '../../pipeline/schema.ts'

const UNLIMITED = 'unlimited'

/** A number; `unlimited` → Infinity. 0 allows nothing. */
const amount = () => z.union([z.number().nonnegative(), z.literal(UNLIMITED)])
const limitOf = (value: number | typeof UNLIMITED): number =>
  value === UNLIMITED ? Number.POSITIVE_INFINITY : value
const number = () => amount().transform(limitOf)
const size = () => z.union([byteSize(), z.literal(UNLIMITED)]).transform(limitOf)

const WHAT = {
  events_per_minute: 'Spans (events) per minute and daemon; a minute’s worth may come at once.',
  bytes_per_second: 'Decompressed bytes per second and daemon; ten seconds’ worth may come at once.',
  in_flight_bytes: 'Bytes of requests that are not answered yet, per daemon.',
  request_bytes: 'Largest request, declared or decompressed; a larger one is refused for good.',
  spans_per_day: 'Spans per day (UTC), over all daemons that share the state store.',
  usd_per_day: 'US dollars of priced model calls per day (UTC), over all daemons.',
} as const

type LimitName = keyof typeof WHAT

const isSize = (name: LimitName) => name.endsWith('bytes') || name === 'bytes_per_second'

type Limit = ReturnType<typeof number>

/** Every limit is optional: what is not set here holds as the next more general block says. */
const some = Object.fromEntries(
  Object.entries(WHAT).map(([name, text]) => [
    name,
    (isSize(name as LimitName) ? size() : number()).optional().describe(text),
  ]),
) as unknown as Record<LimitName, z.ZodOptional<Limit>>

type Defaults = Partial<Record<LimitName, number | string>>

/** The same with defaults. */
function tier(defaults: Defaults) {
  return z.strictObject(
    Object.fromEntries(
      Object.entries(WHAT).map(([name, text]) => [
        name,
        (isSize(name as LimitName) ? size() : number())
          .prefault((defaults[name as LimitName] ?? UNLIMITED) as typeof UNLIMITED)
          .describe(text),
      ]),
    ) as unknown as Record<LimitName, z.ZodPrefault<Limit>>,
  )
}

const memory = {
  check_interval: duration().prefault('1s').describe('How often memory is looked at.'),
  limit_mib: z
    .number()
    .int()
    .nonnegative()
    .default(0)
    .describe('Hard limit of the main process in MiB, without mapped files; 0: `limit_percentage` rules.'),
  spike_limit_mib: z
    .number()
    .int()
    .nonnegative()
    .default(0)
    .describe('The soft limit is the hard one minus this; 0: a fifth of the hard limit.'),
  limit_percentage: z
    .number()
    .min(0)
    .max(100)
    .default(75)
    .describe('Hard limit as a share of the cgroup’s or the machine’s memory. `limit_mib` wins.'),
  spike_limit_percentage: z
    .number()
    .min(0)
    .max(100)
    .default(0)
    .describe('The same as a share of all memory; 0: a fifth of the hard limit.'),
  min_gc_interval_when_soft_limited: duration()
    .prefault('10s')
    .describe('Accepted for the collector’s configs: V8 collects by itself.'),
  min_gc_interval_when_hard_limited: duration().prefault('0s').describe('Accepted likewise.'),
  max_gc_interval_when_soft_limited: duration().prefault('30s').describe('Accepted likewise.'),
  max_gc_interval_when_hard_limited: duration().prefault('30s').describe('Accepted likewise.'),
} as const

const span = z.strictObject({
  max_bytes: byteSize().prefault('1MiB').describe('One span (event) with all that is in it.'),
  max_payload_bytes: byteSize()
    .prefault('512KiB')
    .describe('One attribute that carries content: messages, tool arguments and results, `toon.payload`.'),
  max_attribute_bytes: byteSize().prefault('64KiB').describe('Any other attribute.'),
  max_attributes: z
    .number()
    .int()
    .positive()
    .default(128)
    .describe(
      'Attributes of a span, event, link, scope or resource; of those that carry content 16 times as many.',
    ),
  max_events: z.number().int().nonnegative().default(128).describe('Events of a span.'),
  max_links: z.number().int().nonnegative().default(128).describe('Links of a span.'),
})

export const config = z.strictObject({
  tiers: z
    .strictObject({
      free: tier({
        events_per_minute: 1000,
        bytes_per_second: '1MiB',
        in_flight_bytes: '16MiB',
        request_bytes: '16MiB',
      })
        .prefault({})
        .describe('Tenants of the tier `free`.'),
      paid: tier({ events_per_minute: 100_000, bytes_per_second: '32MiB', in_flight_bytes: '64MiB' })
        .prefault({})
        .describe('Tenants of the tier `paid`.'),
      enterprise: tier({}).prefault({}).describe('Tenants of the tier `enterprise`.'),
    })
    .prefault({})
    .describe('Limits of registered tenants (`weir tenant`), by their tier.'),
  default: tier({})
    .prefault({})
    .describe('Tenants that are not registered, and everybody where no `auth` stands before: no limits.'),
  tenants: z
    .record(
      z.string().regex(TENANT, 'must be a tenant id'),
      z.strictObject({
        ...some,
        projects: z
          .record(z.string().min(1), z.strictObject(some))
          .optional()
          .describe('Further limits of its projects.'),
      }),
    )
    .default({})
    .describe('Single tenants, before what is registered of them and before their tier.'),
  span: span
    .prefault({})
    .describe('What one span may hold. A span over a limit is rejected, the others pass.'),
  in_flight_bytes: size()
    .prefault(UNLIMITED)
    .describe(
      'Bytes of requests that are not answered yet, of all tenants; at most what memory allows (192 MiB from 1.7 GiB on).',
    ),
  wal: z
    .strictObject({
      max_undelivered_percent: z
        .number()
        .positive()
        .max(100)
        .default(90)
        .describe('Share of a WAL’s `max_bytes` that exporters may be behind before nothing new is taken.'),
      max_undelivered_age: duration()
        .optional()
        .describe('Age of the oldest undelivered data from which on nothing new is taken; absent: any.'),
    })
    .prefault({})
    .describe('Back-pressure from what stores have not taken. Looked at every 2 s.'),
  dead_letters: z
    .strictObject({
      max_spans_per_minute: number()
        .prefault(1000)
        .describe('A tenant of whose spans more become dead letters is not taken from until fewer do.'),
    })
    .prefault({})
    .describe('Back-pressure from spans that stores refuse for good.'),
  refusal_delay: duration()
    .prefault('250ms')
    .describe(
      'A tenant over a limit of its own waits this long for the refusal, so that it slows nobody down.',
    ),
  tenant_labels: z
    .boolean()
    .default(false)
    .describe('Whether metrics name the tenant (the first 1000; then `other`).'),
  ...memory,
})

export type LimitsConfig = z.output<typeof config>
/** Infinity: no limit. */
export type TenantLimits = Readonly<Record<LimitName, number>>
