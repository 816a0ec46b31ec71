import { spawn } from 'node:child_process'
import { messageOf } from '../../fault.ts'
import { asObject, own } from '../../genai/json.ts'
import { HttpPoster } from '../../net/http-post.ts'
import { valueOf } from '../../runs/canonical.ts'
import type { Secret } from '../../secret.ts'

/** Somebody else's program or server that a replay calls: JSON in, JSON out. */
export type Hook =
  | {
      readonly endpoint: string
      readonly headers: Readonly<Record<string, Secret>>
      readonly timeout: number
    }
  | { readonly command: readonly string[]; readonly timeout: number }

const MAX_OUTPUT_BYTES = 4 * 1024 * 1024
/** For what a command wrote to be read, once it has ended. */
const DRAIN_MS = 500

/** What it answered, or why it did not. Rejects only with the signal's reason. */
export async function callHook(
  hook: Hook,
  input: unknown,
  signal: AbortSignal,
): Promise<{ readonly value: unknown } | { readonly failed: string }> {
  const body = Buffer.from(`${JSON.stringify(input)}\n`)
  try {
    const output = 'command' in hook ? await runCommand(hook, body, signal) : await post(hook, body, signal)
    const text = output.toString().trim()
    return { value: text === '' ? {} : valueOf(text) }
  } catch (error) {
    signal.throwIfAborted()
    return { failed: messageOf(error) }
  }
}

async function post(
  { endpoint, headers, timeout }: Extract<Hook, { readonly endpoint: string }>,
  body: Buffer,
  signal: AbortSignal,
): Promise<Buffer> {
  const poster = new HttpPoster(endpoint, timeout)
  try {
    const own = Object.entries(headers).map(([name, value]) => [name, value.reveal()] as const)
    const all = { 'content-type': 'application/json', ...Object.fromEntries(own) }
    const response = await poster.post(all, body, signal)
    if (response.status < 200 || response.status > 299) {
      throw new Error(`the hook answered HTTP ${response.status}`)
    }
    return response.body
  } finally {
    poster.close()
  }
}

/** Without a shell; it sees PATH and HOME of weir's environment, and no secret of it. */
function runCommand(
  { command, timeout }: Extract<Hook, { readonly command: readonly string[] }>,
  body: Buffer,
  signal: AbortSignal,
): Promise<Buffer> {
  const [program = '', ...args] = command
  return new Promise((resolve, fail) => {
    const { PATH, HOME } = process.env
    const child = spawn(program, args, {
      stdio: ['pipe', 'pipe', 'ignore'],
      env: { ...(PATH !== undefined && { PATH }), ...(HOME !== undefined && { HOME }) },
      signal,
      timeout,
      killSignal: 'SIGKILL',
    })
    const chunks: Buffer[] = []
    let size = 0
    child.stdout.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size > MAX_OUTPUT_BYTES) child.kill('SIGKILL')
      else chunks.push(chunk)
    })
    child.on('error', (error) => fail(new Error(`the hook cannot run: ${messageOf(error)}`)))
    // It need not read what it is given.
    child.stdin.on('error', () => undefined)
    // What it has started itself, such as a database, may hold the pipe on: its answer is what it wrote until it ended.
    child.on('exit', (_, killed) => {
      const rest = setTimeout(() => child.stdout.destroy(), killed === null ? DRAIN_MS : 0)
      child.on('close', () => clearTimeout(rest))
    })
    child.on('close', (code, killed) => {
      if (size > MAX_OUTPUT_BYTES) fail(new Error(`the hook wrote more than ${MAX_OUTPUT_BYTES} bytes`))
      else if (code === 0) resolve(Buffer.concat(chunks))
      else
        fail(
          new Error(killed === null ? `the hook ended with code ${code}` : `the hook was ended: ${killed}`),
        )
    })
    child.stdin.end(body)
  })
}

/** A hook's answer to a call of a tool: `{status?, result?, error?}`, or the result itself. */
export function toolAnswer(value: unknown): { readonly status: 'ok' | 'error'; readonly value: unknown } {
  const object = asObject(value)
  const [result, error] = [own(object, 'result'), own(object, 'error')]
  if (error !== undefined && error !== null) return { status: 'error', value: error }
  const isWrapped = result !== undefined || own(object, 'status') !== undefined
  return { status: own(object, 'status') === 'error' ? 'error' : 'ok', value: isWrapped ? result : value }
}
