import { z } from 'zod'
import { Secret } from './secret.ts'

/**
 * Config value types that components share, with the collector's notation. Each keeps its input form in JSON Schema,
 * where `notation` names it for the generated tables.
 * Defaults are written as the user would: `duration().prefault('10s')`.
 */

const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
}
const DURATION = /^(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+$/

/** A Go duration (`300ms`, `1.5h`, `1m30s`, `0`) → milliseconds. */
export function duration() {
  return z
    .union([
      z.string().regex(DURATION, 'must be a duration such as 300ms, 10s or 1.5h'),
      z.literal(0),
      z.literal('0'),
    ])
    .meta({ notation: 'duration' })
    .transform(durationMs)
}

function durationMs(text: string | 0): number {
  if (text === 0 || text === '0') return 0
  let total = 0
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)) {
    total += Number(amount) * (UNIT_MS[unit ?? ''] ?? 0)
  }
  return total
}

const SIZE_UNIT: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  m: 1e6,
  g: 1e9,
  t: 1e12,
  ki: 1024,
  mi: 1024 ** 2,
  gi: 1024 ** 3,
  ti: 1024 ** 4,
}

/** A byte count (`1048576`, `64MiB`, `8MB`, `1Gi`) → bytes. */
export function byteSize() {
  return z
    .union([
      z.number().int().nonnegative(),
      z
        .string()
        .regex(
          /^\d+(?:\.\d+)?\s*(?:[kmgt]i?)?b?$/i,
          'must be a size such as 512KiB, 64MiB or a number of bytes',
        ),
    ])
    .meta({ notation: 'size' })
    .transform(sizeBytes)
}

function sizeBytes(value: string | number): number {
  if (typeof value === 'number') return value
  const match = /^(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?$/i.exec(value)
  return Math.floor(Number(match?.[1] ?? 0) * (SIZE_UNIT[(match?.[2] ?? '').toLowerCase()] ?? 1))
}

/** A value that is never printed. Becomes a `Secret`; marked so that `print-config` and the docs know. */
export function secret() {
  return z
    .string()
    .min(1)
    .meta({ secret: true })
    .transform((text) => new Secret(text))
}

/** `host:port`, IPv6 in brackets; port 0 asks for any. */
export function endpoint() {
  return z
    .string()
    .regex(/^(\[[0-9a-fA-F:.]+\]|[^\s:/]*):\d{1,5}$/, 'must be host:port, e.g. 127.0.0.1:4317')
    .meta({ notation: 'host:port' })
}

/** The end of 63 bits of nanoseconds. */
const LAST = '2262-04-11'
const INSTANT = 'must be a UTC day such as 2026-08-01 or a time such as 2026-08-01T12:00:00Z'

/** A day or an instant (RFC 3339) → Unix ms. */
export function instant() {
  return z
    .union([z.iso.date(INSTANT), z.iso.datetime({ offset: true, error: INSTANT })])
    .refine((text) => text >= '1970' && text < LAST, `must lie between 1970-01-01 and ${LAST}`)
    .transform((text) => Date.parse(text))
}
