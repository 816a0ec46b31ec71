import { createHash, randomUUID } from 'node:crypto'
import { rename, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { LIST_TYPE, MAP_TYPE, parseArtifactRef, type ArtifactName } from '../pipeline/artifact.ts'
import { reject } from '../pipeline/fault.ts'
import { safeJson } from '../pipeline/telemetry/safe-text.ts'
import { ARRAY_VALUE, KEY_VALUE_LIST } from '../proto/otlp/schema.ts'
import { toJson } from '../proto/otlp/to-json.ts'
import { apiClient, CLIENT_FLAGS, CLIENT_HELP, type ApiClient, type Download } from './client.ts'
import { unwritable } from './file.ts'
import { counted } from './table.ts'
import { UsageError, type Io, type Verb } from './verb.ts'

export const verb: Verb = {
  name: 'artifact',
  summary: 'A large value that was moved out of its span: get it, or a signed URL for it.',
  help: `Usage: weir artifact get REF [-o FILE] [--json]
       weir artifact url REF [--json]

REF is what a span's attribute …artifact.ref holds: artifact://TENANT/SHA256. Bytes are compared with the SHA-256
before they are written anywhere.

  -o, --output FILE  where to; without it a text goes to stdout, and anything else to a file named by its SHA-256 here
  --json             of get: a list or map as OTLP/JSON instead of its protobuf bytes; of url: the whole answer
${CLIENT_HELP}

Examples:
  weir trace 4bf92f3577b34da6a3ce929d0e0e4736          shows the references
  weir artifact get artifact://acme/9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 -o prompt.txt
`,
  run,
}

const FLAGS = {
  ...CLIENT_FLAGS,
  output: { type: 'string', short: 'o' },
  json: { type: 'boolean', default: false },
} as const

interface Answer {
  readonly ref: string
  readonly url: string
  readonly expires: string
}

async function run(argv: readonly string[], io: Io): Promise<number> {
  const { values, positionals } = parseArgs({ args: [...argv], options: FLAGS, allowPositionals: true })
  const [action, ref = '', ...more] = positionals
  if ((action !== 'get' && action !== 'url') || more.length > 0) {
    throw new UsageError('say get or url, and one reference')
  }
  const name = parseArtifactRef(ref)
  if (name === undefined) throw new UsageError('a reference is artifact://TENANT/SHA256')
  const client = apiClient(io, values.endpoint)
  const answer = (await client.get(`/v1/artifacts/${name.tenant}/${name.sha256}`)) as Answer
  const url = new URL(answer.url, client.endpoint).href
  if (action === 'get') return get(client, name, url, values, io)
  io.out(values.json ? safeJson(JSON.stringify({ ...answer, url })) : url)
  return 0
}

async function get(
  client: ApiClient,
  name: ArtifactName,
  url: string,
  { output, json }: { readonly output?: string | undefined; readonly json: boolean },
  io: Io,
): Promise<number> {
  const found = await client.download(url)
  if (createHash('sha256').update(found.bytes).digest('hex') !== name.sha256) {
    throw reject('NOT_FOUND', 'what came is not the artifact: its SHA-256 is another')
  }
  const bytes = json ? jsonOf(found) : found.bytes
  const isText = json || found.mediaType.startsWith('text/')
  // A terminal must not be moved about by data; whoever wants the bytes gives a file.
  if (output === undefined && isText) io.out(io.tty ? printable(bytes) : Buffer.from(bytes).toString())
  else {
    const file = output ?? name.sha256
    await write(file, bytes)
    io.err(`${counted(bytes.length, 'byte')} (${found.mediaType}) in ${file}`)
  }
  return 0
}

function jsonOf({ bytes, mediaType }: Download): Uint8Array {
  const schema = mediaType === LIST_TYPE ? ARRAY_VALUE : mediaType === MAP_TYPE ? KEY_VALUE_LIST : undefined
  if (schema === undefined) throw new UsageError(`--json is for lists and maps; this is ${mediaType}`)
  return Buffer.from(`${JSON.stringify(toJson(schema, bytes))}\n`)
}

/** Lines stay; other control characters are written out. */
function printable(bytes: Uint8Array): string {
  return safeJson(Buffer.from(bytes).toString().replaceAll('\r\n', '\n')).replaceAll('\\u000a', '\n')
}

/** Whole or not at all. */
async function write(file: string, bytes: Uint8Array): Promise<void> {
  const aside = join(dirname(file), `.${basename(file)}.${randomUUID()}.part`)
  try {
    await writeFile(aside, bytes, { flag: 'wx', mode: 0o600 })
    await rename(aside, file)
  } catch (error) {
    await rm(aside, { force: true })
    throw unwritable('--output', file, error)
  }
}
