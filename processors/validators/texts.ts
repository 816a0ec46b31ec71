import { ATTR, NONE, type AttrRef, type Batch } from '../../pipeline/batch/batch.ts'

/** The texts of a list attribute, at most `most`; none for anything else. */
export function textsOf(batch: Batch, ref: AttrRef, most: number): readonly string[] {
  if (ref === NONE || batch.type(ref) !== ATTR.array) return []
  const list = parsed(batch.text(ref))
  if (!Array.isArray(list)) return []
  return list.filter((item): item is string => typeof item === 'string').slice(0, most)
}

/** Undefined for what is not JSON. */
export function parsed(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}
