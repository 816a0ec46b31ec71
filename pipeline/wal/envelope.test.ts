import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { faultOf } from '../fault.ts'
import { decodeEnvelope, encodeEnvelope, envelopeOverhead, type Member } from './envelope.ts'

const text = fc.string({ unit: 'binary', maxLength: 40 }).map((value) => value.toWellFormed())
const member: fc.Arbitrary<Member> = fc.record({
  digest: fc.uint8Array({ minLength: 16, maxLength: 16 }),
  part: fc.nat(),
  firstRow: fc.nat(),
  last: fc.boolean(),
  principal: text,
  project: text,
  source: text,
  only: fc.option(fc.constantFrom('traces/store/otlp', 'a'), { nil: undefined }),
  receivedAtMs: fc.integer({ min: 0, max: 2 ** 50 }),
  spans: fc.nat(),
  bytes: fc.uint8Array({ maxLength: 300 }),
})
const members = fc.array(member, { minLength: 1, maxLength: 8 })

function plain(list: readonly Member[]): unknown[] {
  return list.map((m) => ({ ...m, digest: [...m.digest], bytes: [...m.bytes] }))
}

function codeOf(work: () => unknown): string | undefined {
  try {
    work()
    return undefined
  } catch (error) {
    return faultOf(error)?.code ?? String(error)
  }
}

describe('envelope', () => {
  it('gives back every member, wherever the message lies in memory', () => {
    fc.assert(
      fc.property(members, fc.nat(9), (list, shift) => {
        const message = Buffer.concat(encodeEnvelope(list))
        const placed = Buffer.concat([Buffer.alloc(shift, 0xff), message, Buffer.alloc(3)])
        expect(plain(decodeEnvelope(placed.subarray(shift, shift + message.length), 1))).toEqual(plain(list))
      }),
    )
  })

  it('keeps the OTLP bytes uncopied and side by side', () => {
    fc.assert(
      fc.property(members, (list) => {
        const parts = encodeEnvelope(list)
        expect(parts.slice(1)).toEqual(list.map((m) => m.bytes))
        for (const [index, part] of parts.slice(1).entries()) expect(part).toBe(list[index]?.bytes)
      }),
    )
  })

  it('says beforehand what it adds to a single member', () => {
    fc.assert(
      fc.property(member, (one) => {
        const message = Buffer.concat(encodeEnvelope([one]))
        const bound = envelopeOverhead(one) + one.bytes.length
        expect(message.length).toBeLessThanOrEqual(bound)
      }),
    )
  })

  it('finds every cut, and every flipped bit of what is not under the checksum of the driver', () => {
    fc.assert(
      fc.property(members, fc.nat(), fc.nat(7), (list, place, bit) => {
        const message = Buffer.concat(encodeEnvelope(list))
        const cut = message.subarray(0, place % message.length)
        expect(codeOf(() => decodeEnvelope(cut, 7))).toBe('WAL_CORRUPT')
        const at = place % message.readUInt32LE(20)
        message.writeUInt8(message.readUInt8(at) ^ (1 << bit), at)
        const expected = at === 4 ? 'STATE_VERSION' : at === 6 || at === 7 ? undefined : 'WAL_CORRUPT'
        expect(codeOf(() => decodeEnvelope(message, 7))).toBe(expected)
      }),
      { numRuns: 300 },
    )
  })

  it('names the version that it cannot read', () => {
    const [header = new Uint8Array()] = encodeEnvelope([])
    Buffer.from(header.buffer, header.byteOffset).writeUInt8(9, 4)
    expect(() => decodeEnvelope(header, 42)).toThrow(/WAL message 42 has envelope format 9/)
  })
})
