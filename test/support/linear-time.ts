/**
 * Time is linear in the text: doubling a text made to be slow at most multiplies it by 2.3. What else the machine does only
 * adds: the least time of several runs counts, of the clock or of the processor, and no more is measured than is in doubt.
 * What still looks worse is doubled three times, and must stay below the cube. `npm run test:fuzz` doubles 50 KB.
 */
export const isFull = process.env['FUZZ_COUNT'] !== undefined
const SIZE = isFull ? 50_000 : 25_000
export const RATIO = 2.3
const RUNS = 4
const ATTEMPTS = 4
/** Nothing linear takes so long; to look closer would take minutes. */
const HOPELESS_MS = 500
/** Below this a doubling cannot be told from noise. */
const NEGLIGIBLE_MS = isFull ? 4 : 2

function filled(unit: string, size: number): string {
  return unit.repeat(Math.ceil(size / unit.length)).slice(0, size)
}

function timed(run: (text: string) => void, text: string): number {
  const start = performance.now()
  const { user, system } = process.cpuUsage()
  run(text)
  const used = process.cpuUsage({ user, system })
  return Math.min(performance.now() - start, (used.user + used.system) / 1000)
}

/** Stops at the first run that takes no longer than `enough`. */
function least(run: (text: string) => void, text: string, enough = 0): number {
  let best = Number.POSITIVE_INFINITY
  for (let i = 0; i < RUNS && best > enough; i++) best = Math.min(best, timed(run, text))
  return best
}

/** Time over twice the text by time over the text. */
export function ratioOf(run: (text: string) => void, unit: string): number {
  const [small, large] = [filled(unit, SIZE), filled(unit, 2 * SIZE)]
  let [half, whole] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    whole = Math.min(whole, least(run, large, NEGLIGIBLE_MS))
    if (whole <= NEGLIGIBLE_MS) return 1
    // After the whole: the engine has compiled it by now.
    half = Math.min(half, timed(run, small), timed(run, small))
    whole = Math.min(whole, least(run, large, half * RATIO))
    if (whole / half <= RATIO || whole > HOPELESS_MS) return whole / half
  }
  const thrice = (): number => least(run, filled(unit, 16 * SIZE)) / least(run, filled(unit, 2 * SIZE))
  return Math.cbrt(Math.min(thrice(), thrice(), thrice()))
}
