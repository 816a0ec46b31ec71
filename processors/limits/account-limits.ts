import { nextDayMs, type Usage } from '../../pipeline/usage/usage.ts'
import type { Account } from './account.ts'
import type { Refusal } from './refusals.ts'

const IN_FLIGHT_RETRY_MS = 500
const USD = 1e12

/** Why a request of this account is not taken now; undefined: it is. */
export function accountRefusal(
  account: Account,
  bytes: number,
  nowMs: number,
  usage: Usage,
): Refusal | undefined {
  return rate(account, nowMs) ?? inFlight(account, bytes) ?? quota(account, nowMs, usage)
}

export function inFlightRefusal({ id, limits }: Account): Refusal {
  const message = `over ${limits.in_flight_bytes} bytes of ${id} are in flight`
  return limited('tenant.in_flight_bytes', message, IN_FLIGHT_RETRY_MS)
}

function rate(account: Account, nowMs: number): Refusal | undefined {
  const { limit, ms } = account.waitMs(nowMs)
  if (ms === 0) return undefined
  const unit = limit === 'events_per_minute' ? 'events per minute' : 'bytes per second'
  return limited(limit, `${account.id} is over ${account.limits[limit]} ${unit}`, ms)
}

function inFlight(account: Account, bytes: number): Refusal | undefined {
  const { inFlight: held, limits } = account
  const fits = held === 0 || held + bytes <= limits.in_flight_bytes
  return fits && limits.in_flight_bytes > 0 ? undefined : inFlightRefusal(account)
}

function quota({ id, limits, reservedSpans }: Account, nowMs: number, usage: Usage): Refusal | undefined {
  const { spans_per_day: maxSpans, usd_per_day: maxUsd } = limits
  if (maxSpans === Number.POSITIVE_INFINITY && maxUsd === Number.POSITIVE_INFINITY) return undefined
  const { spans, picoUsd } = usage.of(id, nowMs)
  const untilMs = nextDayMs(nowMs) - nowMs
  if (spans + reservedSpans >= maxSpans) {
    return limited('spans_per_day', `${id} has used its ${maxSpans} spans of this day (UTC)`, untilMs)
  }
  if (Number(picoUsd) / USD >= maxUsd) {
    return limited('usd_per_day', `${id} has used its ${maxUsd} USD of this day (UTC)`, untilMs)
  }
  return undefined
}

function limited(limit: Refusal['limit'], message: string, afterMs: number): Refusal {
  return { limit, code: 'RATE_LIMITED', message, afterMs }
}
