import { pino, type DestinationStream } from 'pino'
import type { Log } from './log.ts'
import { redactText, redactValue } from './redact.ts'
import { safeJson, safeText } from './safe-text.ts'

export interface LoggerOptions {
  readonly level: 'debug' | 'info' | 'warn' | 'error'
  readonly encoding: 'console' | 'json'
  /** Identity of this process: service.name, service.version, service.instance.id, … */
  readonly resource: Readonly<Record<string, string>>
  /** Default: stderr, written at once, so that nothing is lost in a crash. */
  readonly destination?: DestinationStream
}

/** Logs in the collector's fields: `level ts msg resource otelcol.component.id otelcol.component.kind otelcol.signal`. */
export function createLogger(options: LoggerOptions): Log {
  const sink = options.destination ?? stderrSink()
  const format = options.encoding === 'json' ? jsonLine : consoleLine
  const children: Log[] = []
  const log = pino(
    {
      level: options.level,
      onChild: (child) => void children.push(child),
      base: options.encoding === 'json' ? { resource: options.resource } : {},
      messageKey: 'msg',
      errorKey: 'error',
      timestamp: () => `,"ts":"${new Date().toISOString()}"`,
      formatters: {
        level: (label) => ({ level: label }),
        log: (fields) => redactValue(fields) as Record<string, unknown>,
      },
      // Errors are shaped by redactValue, before pino would look at them.
      serializers: {
        error: (value: unknown) => redactValue(value),
        err: (value: unknown) => redactValue(value),
      },
    },
    { write: (line: string) => sink.write(`${redactText(format(readLine(line)))}\n`) },
  )
  families.set(log, children)
  return log
}

/** A child of pino has a level of its own, so all of them are told. Loggers are per component, never per request. */
const families = new WeakMap<Log, readonly Log[]>()

/** Changes the level of a logger of `createLogger` and of all loggers made from it. */
export function setLevel(log: Log, level: LoggerOptions['level']): void {
  for (const each of [log, ...(families.get(log) ?? [])]) each.level = level
}

/** The logger of one component: every line says whose it is. */
export function componentLog(log: Log, id: string, kind: string, signal?: string): Log {
  return log.child({
    'otelcol.component.id': id,
    'otelcol.component.kind': kind,
    ...(signal === undefined ? {} : { 'otelcol.signal': signal }),
  })
}

function stderrSink(): DestinationStream {
  const sink = pino.destination({ fd: 2, sync: true })
  // A closed stderr must not end the daemon: there is nowhere left to say so.
  sink.on('error', () => undefined)
  return sink
}

type Line = Readonly<Record<string, unknown>> & { level?: string; ts?: string; msg?: string }

/** pino formats what a line is given, but not the bindings of child loggers: secrets are masked here for both. */
function readLine(line: string): Line {
  return redactValue(JSON.parse(line)) as Line
}

function jsonLine(line: Line): string {
  return safeJson(JSON.stringify(line))
}

/** `2026-11-21T04:00:00.000Z  info   Everything is ready.  {"otelcol.component.id":"otlp"}` */
function consoleLine(line: Line): string {
  const { level = '', ts = '', msg = '', ...rest } = line
  const fields = Object.keys(rest).length === 0 ? '' : `  ${JSON.stringify(rest)}`
  return safeText(`${ts}  ${level.padEnd(5)}  ${msg}${fields}`)
}
