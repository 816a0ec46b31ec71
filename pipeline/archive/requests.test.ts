import { gzipSync } from 'node:zlib'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { Fault } from '../fault.ts'
import { requestsIn } from './requests.ts'

/** The bytes in pieces of these sizes, over and over. */
async function* pieces(bytes: Buffer, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length] ?? 1
    yield bytes.subarray(at, at + size)
    at += size
  }
}

async function read(bytes: Buffer, sizes: readonly number[] = [1 << 16]): Promise<string[]> {
  const found: string[] = []
  for await (const { form, bytes: request } of requestsIn(pieces(bytes, sizes))) {
    found.push(`${form} ${Buffer.from(request).toString('latin1')}`)
  }
  return found
}

const lengthOf = (bytes: Buffer): Buffer => {
  const head = Buffer.alloc(4)
  head.writeUInt32BE(bytes.length)
  return head
}

const json = fc.string({ maxLength: 60 }).map((text) => Buffer.from(JSON.stringify({ text })))
const proto = fc.uint8Array({ maxLength: 60 }).map((tail) => Buffer.from([0x0a, ...tail]))
const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 })
const shown = (form: string, bytes: Buffer): string => `${form} ${bytes.toString('latin1')}`

test('every form is read as it was written, however its bytes come, packed or not', async () => {
  const archive = fc.oneof(
    fc.array(json, { minLength: 1, maxLength: 8 }).map((list) => ({
      bytes: Buffer.from(list.map((line) => `${line.toString()}\n`).join('')),
      found: list.map((line) => shown('json', line)),
    })),
    // The collector's S3 exporter: one request, no line end.
    json.map((one) => ({ bytes: one, found: [shown('json', one)] })),
    proto.map((one) => ({ bytes: one, found: [shown('proto', one)] })),
    fc.array(fc.oneof(json, proto), { minLength: 1, maxLength: 8 }).map((list) => ({
      bytes: Buffer.concat(list.flatMap((one) => [lengthOf(one), one])),
      found: list.map((one) => shown(one[0] === 0x0a ? 'proto' : 'json', one)),
    })),
  )
  await fc.assert(
    fc.asyncProperty(archive, sizes, fc.boolean(), async ({ bytes, found }, sizes, packed) => {
      // As a file that grew by two deliveries: two members.
      const half = bytes.length >> 1
      const stored = packed
        ? Buffer.concat([gzipSync(bytes.subarray(0, half)), gzipSync(bytes.subarray(half))])
        : bytes
      expect(await read(stored, sizes)).toEqual(found)
    }),
  )
})

test('an empty object holds nothing', async () => {
  expect(await read(Buffer.alloc(0))).toEqual([])
  expect(await read(gzipSync(Buffer.alloc(0)))).toEqual([])
})

test('what is cut off gives what is before the cut, and says so', async () => {
  const one = Buffer.from('{"a":1}')
  const whole = Buffer.concat([lengthOf(one), one, lengthOf(one), one])
  const found: string[] = []
  const reading = (async () => {
    for await (const { bytes } of requestsIn(pieces(whole.subarray(0, -2), [7]))) found.push(String(bytes))
  })()
  await expect(reading).rejects.toThrow('in the middle of a request')
  expect(found).toHaveLength(1)
  await expect(read(gzipSync(one).subarray(0, 20))).rejects.toThrow('not whole')
})

test('whatever bytes there are, it ends, with requests or a Fault', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), sizes, async (bytes, sizes) => {
      try {
        await read(Buffer.from(bytes), sizes)
      } catch (error) {
        expect(error).toBeInstanceOf(Fault)
      }
    }),
  )
})

test('Parquet and other forms are named, not their content', async () => {
  await expect(read(Buffer.from('PAR1 secret'))).rejects.toThrow('Parquet')
  await expect(read(Buffer.from('secret'))).rejects.toThrow(/^(?!.*secret)/)
  const one = Buffer.from('{}')
  const long = Buffer.concat([lengthOf(one), one, Buffer.from([0xff, 0xff, 0xff, 0xff, 1])])
  await expect(read(long)).rejects.toMatchObject({ code: 'BATCH_TOO_LARGE' })
})
