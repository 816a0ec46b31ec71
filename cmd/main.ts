#!/usr/bin/env node
import { isatty } from 'node:tty'
import { runCli } from './cli.ts'
import type { Io } from './verb.ts'

/** The process: the only place that reads argv and exits. */

// A reader that has gone (`weir components | head -1`) is no failure.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0)
    throw error
  })
}

const io: Io = {
  out: (text) => void process.stdout.write(asLines(text)),
  err: (text) => void process.stderr.write(asLines(text)),
  env: process.env,
  tty: isatty(1),
  ...(isatty(2) ? { progress: (text: string) => void process.stderr.write(`\r\u001b[K${text}`) } : {}),
}

function asLines(text: string): string {
  return text.endsWith('\n') ? text : `${text}\n`
}

const code = await runCli(process.argv.slice(2), io)
// Whatever a verb left open must not keep a finished command alive; what it wrote must be out.
process.stdout.write('', () => process.stderr.write('', () => process.exit(code)))
