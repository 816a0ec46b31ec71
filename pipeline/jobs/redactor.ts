import { reject } from '../fault.ts'
import type { StoredRedactor } from '../redact.ts'

/** Whose rules: of `all` the one named `id`, or the only one. Throws NOT_FOUND, and REQUEST_INVALID where several could be meant. */
export function theRedactor(all: readonly StoredRedactor[], id?: string): StoredRedactor {
  const [only, ...others] = id === undefined ? all : all.filter((each) => each.id === id)
  if (only === undefined) {
    throw reject('NOT_FOUND', `no ingest pipeline before a log has ${id ?? 'a processor that redacts'}`)
  }
  const names = [...new Set([only, ...others].map((each) => each.id))]
  if (names.length > 1)
    throw reject('REQUEST_INVALID', `several redact: name one of ${names.join(', ')} as sanitizer`)
  return only
}
