import { UsageError } from '../verb.ts'

const UNIT_S: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 }

/** `30m`, `24h`, `90d`, `0`. */
export function seconds(flag: string, text: string): number {
  const [, amount = '', unit = ''] = /^(\d+)(s|m|h|d)$/.exec(text) ?? (text === '0' ? ['', '0', 's'] : [])
  if (unit === '') throw new UsageError(`${flag} ${text} is not a time such as 30m, 24h or 90d`)
  return Number(amount) * (UNIT_S[unit] ?? 0)
}

/** An instant as it is, or so long from now, in RFC 3339. */
export function expiry(flag: string, text: string): string {
  if (/^\d{4}-/.test(text)) return text
  const end = new Date(Date.now() + seconds(flag, text) * 1000)
  if (Number.isNaN(end.getTime())) throw new UsageError(`${flag} ${text} is too far away`)
  return end.toISOString()
}

/** So long ago, or the instant itself, in RFC 3339. */
export function past(flag: string, text: string | undefined): string | undefined {
  if (text === undefined) return undefined
  const isInstant = /^\d{4}-\d\d-\d\dT/.test(text)
  const ms = isInstant ? Date.parse(text) : Date.now() - seconds(flag, text) * 1000
  const time = new Date(ms)
  if (Number.isNaN(time.getTime())) throw new UsageError(`${flag} ${text} is not an instant`)
  return time.toISOString()
}
