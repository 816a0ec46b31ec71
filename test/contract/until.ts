/** Asks again every few milliseconds; what the condition throws ends it at once. */
export function untilWithin(limitMs: number) {
  return async (condition: () => Promise<boolean> | boolean): Promise<void> => {
    const end = performance.now() + limitMs
    while (!(await condition())) {
      if (performance.now() > end) throw new Error('waited in vain')
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
  }
}
