import { pathText, type Path } from '../pipeline/input/path.ts'
import type { Origin } from './node.ts'

/** Something wrong, with its place: what an operator reads. */
export interface ConfigError extends Origin {
  /** The path of the key, e.g. `exporters.clickhouse.endpoint`; empty for the whole file. */
  readonly path: string
  /** One line, with "did you mean" where a near name is known. */
  readonly message: string
}

export function configError(origin: Origin, path: Path, message: string): ConfigError {
  return { ...origin, path: pathText(path), message: message.replace(/\s*[\r\n]+\s*/g, ' ') }
}

/** `file:line:col path: message`, one line. */
export function formatError(error: ConfigError): string {
  const place = error.line === 0 ? error.file : `${error.file}:${error.line}:${error.col}`
  return error.path === '' ? `${place}: ${error.message}` : `${place} ${error.path}: ${error.message}`
}

/** All errors, one a line. */
export function formatErrors(errors: readonly ConfigError[]): string {
  return errors.map(formatError).join('\n')
}
