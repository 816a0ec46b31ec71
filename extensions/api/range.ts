/**
 * The bytes [first, end) that a Range header asks for (RFC 9110, 14.1.2); undefined: all of them, also where it asks for
 * several ranges, or for what is no range; `none`: only for bytes that are not there.
 */
export function rangeOf(
  header: string | undefined,
  size: number,
): readonly [number, number] | 'none' | undefined {
  const [, from = '', to = ''] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? '') ?? []
  if (from === '' && to === '') return undefined
  if (from === '') {
    const last = Math.min(Number(to), size)
    return last === 0 ? 'none' : [size - last, size]
  }
  const first = Number(from)
  const end = to === '' ? size : Math.min(Number(to) + 1, size)
  if (to !== '' && Number(to) < first) return undefined
  return first >= size ? 'none' : [first, end]
}
