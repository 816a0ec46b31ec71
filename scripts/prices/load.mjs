import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'

const TIMEOUT_MS = 60_000
/** The larger of the two has 2 MB. */
const MAX_BYTES = 64 * 1024 * 1024

/** The text of a file or URL, unpacked where its name ends in .gz. */
export async function load(place) {
  const bytes = /^https?:/.test(place) ? await download(place) : readFileSync(place)
  return (place.endsWith('.gz') ? gunzipSync(bytes, { maxOutputLength: MAX_BYTES }) : bytes).toString('utf8')
}

async function download(place) {
  let response
  try {
    response = await fetch(place, { signal: AbortSignal.timeout(TIMEOUT_MS) })
  } catch (error) {
    throw new Error(
      `${place} cannot be reached (${error.cause?.message ?? error.message}): give a file instead`,
      { cause: error },
    )
  }
  if (!response.ok) throw new Error(`${place} answered ${response.status}`)
  const chunks = []
  let size = 0
  for await (const chunk of response.body) {
    size += chunk.length
    if (size > MAX_BYTES) throw new Error(`${place} is larger than ${MAX_BYTES} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
