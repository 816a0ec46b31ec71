import { runCli } from '../../cmd/cli.ts'

/** A verb in this process, with an empty environment and no terminal: its exit code, and what it printed. */
export async function weir(
  ...argv: string[]
): Promise<{ readonly code: number; readonly out: string; readonly err: string }> {
  let [out, err] = ['', '']
  const io = { out: (text: string) => void (out += text), err: (text: string) => void (err += text) }
  const code = await runCli(argv, { ...io, env: {}, tty: false })
  return { code, out, err }
}
