import { existsSync, readFileSync } from 'node:fs'

/** The version in package.json: one folder up from the source, two from `dist/cmd`. */
export const VERSION: string = readVersion()

function readVersion(): string {
  const candidates = ['../package.json', '../../package.json'].map((path) => new URL(path, import.meta.url))
  const found = candidates.find((url) => existsSync(url))
  if (found === undefined) return 'unknown'
  return (JSON.parse(readFileSync(found, 'utf8')) as { version: string }).version
}
