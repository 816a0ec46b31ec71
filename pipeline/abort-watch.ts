/**
 * Callbacks by signal, behind one listener that stays: adding and removing a listener of an AbortSignal takes more CPU
 * than all else that the log's writer does for a small request, and receivers use their signals again.
 */
const watched = new WeakMap<AbortSignal, Set<() => void>>()

export interface Watch {
  delete(callback: () => void): void
}

/** Calls back once when the signal aborts, at once if it has; until it is deleted from what is returned. */
export function watch(signal: AbortSignal, callback: () => void): Watch {
  let callbacks = watched.get(signal)
  if (callbacks === undefined) watched.set(signal, (callbacks = begin(signal)))
  if (signal.aborted) callback()
  else callbacks.add(callback)
  return callbacks
}

function begin(signal: AbortSignal): Set<() => void> {
  const callbacks = new Set<() => void>()
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
