import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { memoryBudget, type MemoryBudget } from '../memory-budget.ts'

/** Of what lives in the heap, in per cent. */
const GROWTH = 200
const LOOK_MS = 100

/** How this process keeps its heap, by what memory there is. */
export function careForHeap(budget: MemoryBudget = memoryBudget()): void {
  if (budget.isRoomy) letHeapGrow()
  else collectEarly(budget.idlePoolBytes)
}

/**
 * Lets the heap grow to three times what lives in it before V8 looks through all of it. By itself V8 chooses a tenth or 8 MiB
 * where little of what a program makes gets old (heap-controller.cc), and counts memory outside of the heap: node:http2 takes
 * 64 KiB of it for each read, so that at 80 MB/s all of the heap was marked five times a second, for a quarter of a core
 * (measured; main then has 25 to 30 MiB that live). The flag is read at each collection; a V8 that does not know it says so on stderr, and goes on.
 */
function letHeapGrow(): void {
  setFlagsFromString(`--heap-growing-percent=${GROWTH}`)
}

/**
 * Collects when memory outside of the heap has grown by `bytes`: V8 by itself waits for 64 MiB, and requests leave most of their garbage
 * there. A collection takes some 15 ms.
 */
function collectEarly(bytes: number): void {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  let after = outside()
  setInterval(() => {
    const now = outside()
    if (now < after + bytes) {
      after = Math.min(after, now)
      return
    }
    collect()
    after = outside()
  }, LOOK_MS).unref()
}

function outside(): number {
  return process.memoryUsage().external
}
