import * as fc from 'fast-check'
import { double, fixed32, fixed64, join, len, uint } from './wire-writer.ts'

/**
 * Requests as bytes, by way of every liberty that the wire format leaves: fields in any order, scalars more than once,
 * messages in pieces, empty messages, unknown fields, repeated resources. All of it is valid OTLP.
 */
export interface Shape {
  /** Canonical: no repeated scalars, pieces or unknown fields (protobufjs replaces where the specification merges). */
  readonly canonical?: boolean
}

type Part = fc.Arbitrary<Uint8Array>

const KEYS = [
  'gen_ai.request.model',
  'a',
  'ab',
  'abc',
  'abcd',
  'abcde',
  '',
  'k'.repeat(300),
  '__proto__',
  'constructor',
  'é',
]

export function requests(shape: Shape = {}): fc.Arbitrary<Uint8Array> {
  const canonical = shape.canonical === true
  const string = fc.oneof(fc.constantFrom('', 'chat', 'x'), fc.string({ unit: 'binary', maxLength: 200 }))
  const key = fc.oneof(fc.constantFrom(...KEYS), string)
  const int64 = fc.oneof(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.bigInt(-3n, 300n))
  const uint64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
  const id = (size: number): Part =>
    fc.oneof(fc.uint8Array({ minLength: size, maxLength: size }), fc.constant(new Uint8Array(0)))
  const scalar = (field: Part): Part =>
    canonical ? field : fc.oneof({ weight: 9, arbitrary: field }, { weight: 1, arbitrary: twice(field) })

  const unknown: Part = fc.oneof(
    fc.tuple(fc.integer({ min: 20, max: 9000 }), int64).map(([field, value]) => uint(field, value)),
    fc.tuple(fc.integer({ min: 20, max: 9000 }), string).map(([field, value]) => len(field, value)),
    fc.integer({ min: 20, max: 9000 }).map((field) => fixed64(field, 7n)),
    fc.integer({ min: 20, max: 9000 }).map((field) => fixed32(field, 7)),
  )
  /** Any number of optional parts, in any order. */
  const message = (...parts: Part[]): Part =>
    fc
      .tuple(
        ...parts.map((part) => fc.option(part, { nil: undefined })),
        fc.array(canonical ? fc.constant(new Uint8Array(0)) : unknown, { maxLength: 1 }),
      )
      .chain((chosen) => {
        const rest = chosen.at(-1) as Uint8Array[]
        const present = [...chosen.slice(0, -1), ...rest].filter((part) => part !== undefined) as Uint8Array[]
        return canonical
          ? fc.constant(join(...present))
          : fc.shuffledSubarray(present, { minLength: present.length }).map((parts) => join(...parts))
      })
  const many = (part: Part, max: number): Part =>
    fc.array(part, { maxLength: max }).map((parts) => join(...parts))
  const child = (field: number, body: Part): Part => body.map((bytes) => len(field, bytes))
  const inPieces = (field: number, body: Part): Part =>
    canonical ? child(field, body) : many(child(field, body), 2)

  const { anyValue } = fc.letrec<{ anyValue: Uint8Array }>((tie) => {
    const member: Part = fc.oneof(
      { maxDepth: 3, withCrossShrink: true },
      string.map((value) => len(1, value)),
      fc.boolean().map((value) => uint(2, value ? 1 : 0)),
      int64.map((value) => uint(3, value)),
      fc.double().map((value) => double(4, value)),
      fc.uint8Array({ maxLength: 20 }).map((value) => len(7, value)),
      child(5, many(child(1, tie('anyValue')), 3)),
      child(
        6,
        many(
          child(
            1,
            fc
              .tuple(
                key.map((k) => len(1, k)),
                child(2, tie('anyValue')),
              )
              .map((kv) => join(...kv)),
          ),
          3,
        ),
      ),
    )
    return {
      anyValue: fc.oneof(
        { weight: 8, arbitrary: member },
        { weight: 1, arbitrary: canonical ? fc.constant(new Uint8Array(0)) : many(member, 2) },
      ),
    }
  })
  const keyValue = message(scalar(key.map((k) => len(1, k))), inPieces(2, anyValue))
  const attributes = (field: number): Part => many(child(field, keyValue), 5)

  const event = message(
    scalar(uint64.map((value) => fixed64(1, value))),
    scalar(string.map((value) => len(2, value))),
    attributes(3),
    fc.nat(9).map((count) => uint(4, count)),
  )
  const link = message(
    scalar(id(16).map((value) => len(1, value))),
    scalar(id(8).map((value) => len(2, value))),
    scalar(string.map((value) => len(3, value))),
    attributes(4),
    fc.nat(9).map((count) => uint(5, count)),
    fc.nat().map((flags) => fixed32(6, flags)),
  )
  const status = message(
    scalar(string.map((value) => len(2, value))),
    scalar(fc.integer({ min: 0, max: 2 }).map((code) => uint(3, code))),
  )
  const span = message(
    scalar(id(16).map((value) => len(1, value))),
    scalar(id(8).map((value) => len(2, value))),
    scalar(string.map((value) => len(3, value))),
    scalar(id(8).map((value) => len(4, value))),
    scalar(string.map((value) => len(5, value))),
    scalar(fc.oneof(fc.nat(5), fc.constant(-1)).map((kind) => uint(6, kind))),
    scalar(uint64.map((value) => fixed64(7, value))),
    scalar(uint64.map((value) => fixed64(8, value))),
    attributes(9),
    attributes(9),
    fc.nat(9).map((count) => uint(10, count)),
    many(child(11, event), 2),
    fc.nat(9).map((count) => uint(12, count)),
    many(child(13, link), 2),
    fc.nat(9).map((count) => uint(14, count)),
    inPieces(15, status),
    fc.nat().map((flags) => fixed32(16, flags)),
  )
  const scope = message(
    scalar(string.map((value) => len(1, value))),
    scalar(string.map((value) => len(2, value))),
    attributes(3),
    fc.nat(9).map((count) => uint(4, count)),
  )
  const scopeSpans = message(
    inPieces(1, scope),
    many(child(2, span), 4),
    many(child(2, span), 2),
    string.map((value) => len(3, value)),
  )
  const entity = message(
    string.map((value) => len(2, value)),
    string.map((value) => len(3, value)),
  )
  const resource = message(
    attributes(1),
    child(3, entity),
    fc.nat(9).map((count) => uint(2, count)),
  )
  const resourceSpans = message(
    inPieces(1, resource),
    many(child(2, scopeSpans), 3),
    string.map((value) => len(3, value)),
  )
  return message(many(child(1, resourceSpans), 3))
}

/** A field, and again with another value: the last one counts. */
function twice(part: Part): Part {
  return fc.tuple(part, part).map((parts) => join(...parts))
}
