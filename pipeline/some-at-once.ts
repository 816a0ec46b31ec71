/**
 * Works on all items, up to `limit` at once, begun in their order. After a failure nothing more is begun; it is thrown
 * once nothing is under way any more.
 */
export async function someAtOnce<T>(
  items: Iterable<T>,
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const todo = items[Symbol.iterator]()
  let failure: { readonly error: unknown } | undefined
  const worker = async (): Promise<void> => {
    for (let next = todo.next(); next.done !== true && failure === undefined; next = todo.next()) {
      try {
        await work(next.value)
      } catch (error) {
        failure ??= { error }
      }
    }
  }
  await Promise.all(Array.from({ length: limit }, worker))
  if (failure !== undefined) throw failure.error
}
