/** As AbortSignal.any, whose signal Node 20 may collect while only a promise waits for it. */
export function anyOf(signals: readonly AbortSignal[]): {
  readonly signal: AbortSignal
  readonly clear: () => void
} {
  const controller = new AbortController()
  const abort = (): void => controller.abort()
  for (const signal of signals) {
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort, { once: true })
  }
  const clear = (): void => {
    for (const signal of signals) signal.removeEventListener('abort', abort)
  }
  return { signal: controller.signal, clear }
}
