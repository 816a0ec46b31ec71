import { messageOf } from '../fault.ts'
import type { Log } from '../telemetry/log.ts'

/** What nobody caught is a bug: it is logged as one line like everything else, and the process ends with 1. */
export function crashLoudly(log: () => Log | undefined): void {
  const crash = (error: unknown): void => {
    const logger = log()
    if (logger === undefined) process.stderr.write(`weir: internal error: ${messageOf(error)}\n`)
    else logger.fatal({ err: error }, 'A bug in weir ended this process')
    process.exit(1)
  }
  process.on('uncaughtException', crash)
  process.on('unhandledRejection', crash)
}
