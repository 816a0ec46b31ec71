/** What the sanitizer leaves in texts (contract section 8). */
const MASK = /\[REDACTED(?:_[A-Z0-9_]+)?\]/
const PSEUDONYM = /<([A-Z][A-Z0-9_]*):[0-9a-f]{16}>/g

/** Something in it was taken out without a trace of which value it was. */
export function isMasked(canonical: string): boolean {
  return MASK.test(canonical)
}

/** The same for all values of a kind. */
export function withoutPseudonyms(canonical: string): string {
  return canonical.replace(PSEUDONYM, '<$1>')
}

/** Something in it is not what it was. */
export function isRedacted(canonical: string): boolean {
  return isMasked(canonical) || withoutPseudonyms(canonical) !== canonical
}
