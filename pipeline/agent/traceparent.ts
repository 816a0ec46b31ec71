const HEADER = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}/

/** W3C Trace Context section 3.2; undefined for anything else, as the standard asks. */
export function parseTraceparent(
  header: string | undefined,
): { readonly traceId: Uint8Array; readonly spanId: Uint8Array } | undefined {
  const [, trace = '', span = ''] = HEADER.exec(header ?? '') ?? []
  if (trace === '' || header?.startsWith('ff') === true || /^0+$/.test(trace) || /^0+$/.test(span))
    return undefined
  return { traceId: Buffer.from(trace, 'hex'), spanId: Buffer.from(span, 'hex') }
}
