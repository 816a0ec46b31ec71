/**
 * What a policy says of a trace: whether it is kept, and with what chance one like it is. `source` names the
 * randomness that the chance comes from: policies of one source keep the same traces (who passes 10 % passes 20 %),
 * those of different ones are independent. '' is the randomness of the trace id.
 */
export interface Verdict {
  readonly kept: boolean
  readonly chance: number
  readonly source: string
}

export const ALWAYS: Verdict = { kept: true, chance: 1, source: '' }
export const NEVER: Verdict = { kept: false, chance: 0, source: '' }
const MIXED = 'mixed'

/** Kept by one of them. */
export function either(a: Verdict, b: Verdict): Verdict {
  const kept = a.kept || b.kept
  if (a.chance === 0 || b.chance === 1) return { ...b, kept }
  if (b.chance === 0 || a.chance === 1) return { ...a, kept }
  if (a.source === b.source && a.source !== MIXED) {
    return { kept, chance: Math.max(a.chance, b.chance), source: a.source }
  }
  return { kept, chance: 1 - (1 - a.chance) * (1 - b.chance), source: MIXED }
}

/** Kept by both. */
export function both(a: Verdict, b: Verdict): Verdict {
  const kept = a.kept && b.kept
  if (a.chance === 1 || b.chance === 0) return { ...b, kept }
  if (b.chance === 1 || a.chance === 0) return { ...a, kept }
  if (a.source === b.source && a.source !== MIXED) {
    return { kept, chance: Math.min(a.chance, b.chance), source: a.source }
  }
  return { kept, chance: a.chance * b.chance, source: MIXED }
}

/** Kept by what the other leaves out: from the other end of the same randomness, so no longer consistent with it. */
export function inverse({ kept, chance }: Verdict): Verdict {
  if (chance === 0 || chance === 1) return kept ? NEVER : ALWAYS
  return { kept: !kept, chance: 1 - chance, source: MIXED }
}
