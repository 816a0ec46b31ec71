/** "did you mean": the nearest known name, or nothing when none is near. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const limit = Math.max(1, Math.floor(word.length / 3))
  let best: string | undefined
  let bestDistance = limit + 1
  for (const candidate of known) {
    if (Math.abs(candidate.length - word.length) > limit) continue
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase())
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  return best ?? known.find((candidate) => isStart(word, candidate))
}

/** One is the start of the other: `warning` and `warn`, `health` and `health_check`. */
function isStart(word: string, candidate: string): boolean {
  const [short, long] = word.length < candidate.length ? [word, candidate] : [candidate, word]
  return short.length > 2 && long.toLowerCase().startsWith(short.toLowerCase())
}

const MAX_LISTED = 15

/** `; did you mean "x"?`, else `; known: …` when the list is short enough to read. */
export function hint(word: string, known: readonly string[], noun = 'known'): string {
  const near = nearest(word, known)
  if (near !== undefined) return `; did you mean "${near}"?`
  if (known.length === 0 || known.length > MAX_LISTED) return ''
  return `; ${noun}: ${known.join(', ')}`
}

/** Levenshtein with the swap of two neighbours as one edit (optimal string alignment). */
function editDistance(a: string, b: string): number {
  let before: number[] = []
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1
      let best = Math.min((previous[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (previous[j - 1] ?? 0) + cost)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        best = Math.min(best, (before[j - 2] ?? 0) + 1)
      }
      row.push(best)
    }
    before = previous
    previous = row
  }
  return previous[b.length] ?? 0
}

/** A name as it is printed in a message: quoted, and cut when it is long. */
export function quoted(name: string): string {
  return JSON.stringify(name.length > 80 ? `${name.slice(0, 77)}…` : name)
}
