/** An attribute made from a line. */
export type Pair = readonly [key: string, value: string | number | boolean]

/** Those that have a value. */
export function attributesFrom(
  pairs: readonly (readonly [key: string, value: Pair[1] | null | undefined])[],
): Pair[] {
  const found: Pair[] = []
  for (const [key, value] of pairs) if (value !== undefined && value !== null) found.push([key, value])
  return found
}
