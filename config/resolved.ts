import type { Config } from '../pipeline/config.ts'
import type { Registry } from '../pipeline/factory.ts'
import { reject } from '../pipeline/fault.ts'
import { pathText } from '../pipeline/input/path.ts'
import { parseDocument } from './parse.ts'

/** `Config.raw` → the config again, in another process. Throws Fault CONFIG_INVALID. */
export function parseResolved(raw: unknown, registry: Registry): Config {
  const { config, problems } = parseDocument(raw, registry)
  if (config !== undefined) return config
  const text = problems.map(({ path, message }) => `${pathText(path)}: ${message}`).join('; ')
  throw reject('CONFIG_INVALID', `the config from the main process is not valid here: ${text}`)
}
