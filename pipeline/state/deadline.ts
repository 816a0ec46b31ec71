/** `promise`, or a rejection with `late()` after `ms`. What `promise` does later is ignored. */
export async function within<T>(ms: number, promise: Promise<T>, late: () => Error): Promise<T> {
  promise.catch(() => {})
  let timer: NodeJS.Timeout | undefined
  const expiry = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late()), ms)
  })
  try {
    return await Promise.race([promise, expiry])
  } finally {
    clearTimeout(timer)
  }
}
