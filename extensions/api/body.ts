import type { IncomingMessage } from 'node:http'
import { reject } from '../../pipeline/fault.ts'

const MAX_BODY_BYTES = 256 * 1024

/** The JSON body of a request, bounded. `undefined` for an empty one. */
export async function readJson(request: IncomingMessage): Promise<unknown> {
  const encoding = request.headers['content-encoding'] ?? 'identity'
  if (encoding !== 'identity') {
    throw reject('ENCODING_UNSUPPORTED', `Content-Encoding ${encoding} is not taken here; send plain JSON`)
  }
  const bytes = await readBody(request)
  if (bytes.length === 0) return undefined
  // A form cannot send this type without asking first, which is what keeps other sites' pages out.
  if (!/^application\/json\s*(?:;|$)/i.test(request.headers['content-type'] ?? '')) {
    throw reject('ENCODING_UNSUPPORTED', 'the Content-Type must be application/json')
  }
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (error) {
    throw reject('BATCH_MALFORMED', 'the body is not valid JSON', { cause: error })
  }
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const declared = Number(request.headers['content-length'] ?? 0)
  if (declared > MAX_BODY_BYTES) throw tooLarge()
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > MAX_BODY_BYTES) throw tooLarge()
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function tooLarge() {
  return reject('BATCH_TOO_LARGE', `the body is larger than ${MAX_BODY_BYTES} bytes`)
}
