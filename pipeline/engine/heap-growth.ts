import { setFlagsFromString } from 'node:v8'

/** Of what lives in the heap, in per cent. */
const GROWTH = 200

/**
 * Lets the heap grow to three times what lives in it before V8 looks through all of it. By itself V8 chooses a tenth or 8 MiB
 * where little of what a program makes gets old (heap-controller.cc), and counts memory outside of the heap: node:http2 takes
 * 64 KiB of it for each read, so that at 80 MB/s all of the heap was marked five times a second, for a quarter of a core
 * (measured; main then has 25 to 30 MiB that live). The flag is read at each collection; a V8 that does not know it says so on stderr, and goes on.
 */
export function letHeapGrow(): void {
  setFlagsFromString(`--heap-growing-percent=${GROWTH}`)
}
