import type { SensitiveKeys } from '../keys.ts'
import type { Edit } from './edits.ts'

const INSERT =
  /insert\s{1,20}into\s{1,20}[\w."`[\]]{1,128}\s{0,20}\(([^()]{1,4000})\)\s{0,20}values\s{0,20}/gi
const LITERAL = /\s*(?:'((?:[^'\\]|''|\\.)*)'|([^,()']*))\s*/y

/** `INSERT INTO users (name, password) VALUES ('a', 'b'), …`: the literals of the columns whose names are secret. */
export function insertEdits(
  text: string,
  keys: SensitiveKeys,
  hide: (value: string) => string | undefined,
): Edit[] {
  const edits: Edit[] = []
  for (const insert of text.matchAll(INSERT)) {
    const secret = insert[1]!.split(',').map((name) => keys.has(name.replace(/["`[\]\s]/g, '')))
    if (!secret.includes(true)) continue
    let at = insert.index + insert[0].length
    while (text[at] === '(') at = tuple(text, at + 1, secret, hide, edits)
  }
  return edits
}

/** Edits one tuple; returns where the next begins. */
function tuple(
  text: string,
  from: number,
  secret: readonly boolean[],
  hide: (value: string) => string | undefined,
  edits: Edit[],
): number {
  let at = from
  for (let column = 0; ; column++) {
    LITERAL.lastIndex = at
    const literal = LITERAL.exec(text)
    if (literal === null) return text.length
    const value = literal[1]
    if (secret[column] === true && value !== undefined && value !== '') {
      const start = at + literal[0].indexOf("'") + 1
      const hidden = hide(value)
      if (hidden !== undefined)
        edits.push({ start, end: start + value.length, text: hidden.replaceAll("'", "''") })
    }
    at += literal[0].length
    if (text[at] !== ',') break
    at++
  }
  if (text[at] !== ')') return text.length
  const next = /\s{0,20},\s{0,20}/y
  next.lastIndex = at + 1
  return at + 1 + (next.exec(text)?.[0].length ?? 0)
}
