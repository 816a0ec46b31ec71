/**
 * Callbacks by signal, behind one listener that stays: adding and removing a listener of an AbortSignal takes more CPU
 * than all else that the log's writer does for a small request, and receivers use their signals again.
 */
const watched = new WeakMap<AbortSignal, Set<() => void>>()

/** Calls back once when the signal aborts, at once if it has; until `unwatch`. */
export function watch(signal: AbortSignal, callback: () => void): void {
  if (signal.aborted) callback()
  else (watched.get(signal) ?? begin(signal)).add(callback)
}

export function unwatch(signal: AbortSignal, callback: () => void): void {
  watched.get(signal)?.delete(callback)
}

function begin(signal: AbortSignal): Set<() => void> {
  const callbacks = new Set<() => void>()
  watched.set(signal, callbacks)
  signal.addEventListener(
    'abort',
    () => {
      for (const callback of callbacks) callback()
      callbacks.clear()
    },
    { once: true },
  )
  return callbacks
}
