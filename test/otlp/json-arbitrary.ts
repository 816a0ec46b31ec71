import * as fc from 'fast-check'

/* `resourceSpans` in OTLP/JSON, of every kind of value, text and time. */

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 20 }).map((each) => each.toWellFormed()),
  fc.nat({ max: 1200 }).map((size) => 'ä'.repeat(size)),
)
const key = fc.oneof(
  fc.constantFrom(
    'gen_ai.system',
    'gen_ai.request.model',
    'agent.run.id',
    'user.id',
    'service.name',
    'weir.redactions',
    'weir.violations',
    'n'.repeat(300),
  ),
  text,
)
/** Often the same, or of one beginning. */
const name = fc.oneof(fc.constantFrom('', 'a', 'a\0', 'a long name', 'a long nam', 'a long näme'), text)
const value = fc.oneof(
  text.map((stringValue) => ({ stringValue })),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((int) => ({ intValue: String(int) })),
  fc.integer({ min: 0, max: 20_000 }).map((int) => ({ intValue: String(int) })),
  fc
    .oneof(fc.constantFrom(0.7, -0, 0, 1e21, -1.7976931348623157e308), fc.double())
    .map((double) => ({ doubleValue: Number.isFinite(double) ? double : String(double) })),
  fc.boolean().map((boolValue) => ({ boolValue })),
  fc.uint8Array({ maxLength: 40 }).map((bytes) => ({ bytesValue: Buffer.from(bytes).toString('base64') })),
  fc.array(text).map((all) => ({ arrayValue: { values: all.map((stringValue) => ({ stringValue })) } })),
  fc.constant({}),
)
const counted = fc.record({
  key: fc.constantFrom('weir.redactions', 'weir.violations'),
  value: fc.nat({ max: 99 }).map((int) => ({ intValue: String(int) })),
})
const plain = fc.record({ key: key.filter((name) => !name.startsWith('weir.')), value })
const attributes = fc
  .tuple(fc.array(plain, { maxLength: 6 }), fc.uniqueArray(counted, { selector: (each) => each.key }))
  .map(([some, counts]) => [...some, ...counts])
const id = (size: number) =>
  fc.uint8Array({ minLength: size, maxLength: size }).map((bytes) => Buffer.from(bytes).toString('hex'))
const service = fc.record({
  key: fc.constant('service.name'),
  value: name.map((stringValue) => ({ stringValue })),
})

/** Many of the times lie some days around `receivedMs`. */
export function jsonRequests(receivedMs: number) {
  const time = fc.oneof(
    fc.constant(0n),
    fc.bigInt({ min: 1n, max: 2n ** 62n }),
    fc.bigInt({ min: 2n ** 63n - 2n, max: 2n ** 63n + 2n }),
    fc.constant(2n ** 64n - 1n),
    fc
      .bigInt({ min: -3n, max: 3n })
      .map((days) => BigInt(receivedMs) * 1_000_000n + days * 43_200_000_000_000n),
  )
  const span = fc.record({
    traceId: fc.oneof(id(16), fc.constant('')),
    spanId: fc.oneof(id(8), fc.constant('')),
    parentSpanId: fc.oneof(id(8), fc.constant('')),
    traceState: fc.constantFrom('', 'a=b'),
    name,
    kind: fc.integer({ min: 0, max: 7 }),
    startTimeUnixNano: time.map(String),
    endTimeUnixNano: time.map(String),
    attributes,
    status: fc.record({ code: fc.integer({ min: 0, max: 4 }), message: text }),
    events: fc.array(
      fc.record({
        timeUnixNano: time.map(String),
        name: text,
        attributes: fc.array(plain, { maxLength: 3 }),
      }),
      { maxLength: 3 },
    ),
    links: fc.array(
      fc.record({
        traceId: id(16),
        spanId: id(8),
        traceState: text,
        attributes: fc.array(plain, { maxLength: 3 }),
      }),
      { maxLength: 2 },
    ),
  })
  return fc.array(
    fc.record({
      resource: fc.record({
        attributes: fc.array(fc.oneof(fc.record({ key, value }), service), { maxLength: 4 }),
      }),
      scopeSpans: fc.array(
        fc.record({
          scope: fc.record({ name: text, version: text }),
          spans: fc.array(span, { maxLength: 4 }),
        }),
        { maxLength: 2 },
      ),
    }),
    { maxLength: 3 },
  )
}
