const FORMAT = /^(?:[A-Za-z0-9!_.*'()=/-]|%[YmdHMjs])*$/
const FIELD = /%([YmdHMjs])/g

/** Whether a text is a format that `formatTime` knows, and gives keys that every store takes. */
export function isTimeFormat(text: string): boolean {
  return FORMAT.test(text) && !text.split('/').includes('..')
}

/** Unix ms by a format of strftime, in UTC. */
export function formatTime(format: string, ms: number): string {
  const iso = new Date(ms).toISOString()
  // Years past 9999 are written with a sign and six digits.
  const at = iso.indexOf('-', 1)
  const parts: Readonly<Record<string, string>> = {
    Y: iso.slice(0, at),
    m: iso.slice(at + 1, at + 3),
    d: iso.slice(at + 4, at + 6),
    H: iso.slice(at + 7, at + 9),
    M: iso.slice(at + 10, at + 12),
    s: String(Math.floor(ms / 1000)),
  }
  return format.replace(FIELD, (_, field: string) => parts[field] ?? dayOfYear(ms))
}

function dayOfYear(ms: number): string {
  const first = Date.UTC(new Date(ms).getUTCFullYear(), 0)
  return String(Math.floor((ms - first) / 86_400_000) + 1).padStart(3, '0')
}
