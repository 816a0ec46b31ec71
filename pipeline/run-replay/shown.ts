import { canonical } from '../runs/canonical.ts'

const MOST = 1000

/** A value as it stands in reports, cut; null for what is absent. */
export function shown(value: unknown): string | null {
  if (value === undefined || value === null) return null
  const text = typeof value === 'string' ? value : canonical(value)
  return text.length <= MOST ? text : `${text.slice(0, MOST).replace(/[\ud800-\udbff]$/, '')}…`
}
