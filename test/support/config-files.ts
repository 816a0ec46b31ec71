import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { formatError, loadConfig, type LoadResult } from '../../config/load.ts'
import { sampleRegistry } from './sample-registry.ts'

/** A folder of files for one test, removed after it. */
export function configFolder(files: Readonly<Record<string, string | Uint8Array>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'weir-config-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content)
  return folder
}

export interface Case {
  readonly files: Readonly<Record<string, string | Uint8Array>>
  /** Names in `files`; all of them by default. */
  readonly load?: readonly string[]
  readonly sets?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

/** Loads a case; `${folder}` in texts is the folder of its files. */
export function load(test: Case): LoadResult & { readonly folder: string } {
  const folder = configFolder({})
  for (const [name, content] of Object.entries(test.files)) {
    const text = typeof content === 'string' ? content.replaceAll('<folder>', folder) : content
    writeFileSync(join(folder, name), text)
  }
  const names = test.load ?? Object.keys(test.files)
  const options = {
    files: names.map((name) => join(folder, name)),
    sets: test.sets ?? [],
    env: test.env ?? {},
  }
  return { ...loadConfig(options, sampleRegistry), folder }
}

/** The errors of a case as printed, with the folder cut off. */
export function errorsOf(test: Case): string[] {
  const result = load(test)
  if (result.ok) throw new Error('the config was expected to be wrong')
  return result.errors.map((error) => formatError(error).replaceAll(`${result.folder}/`, ''))
}

/** The loaded config of a case; fails with its errors. */
export function configOf(test: Case): Extract<LoadResult, { ok: true }> & { readonly folder: string } {
  const result = load(test)
  if (!result.ok) throw new Error(result.errors.map(formatError).join('\n'))
  return result
}

/** Both pipelines over a journal, as most configs have them; `exporters` replaces the store's block. */
export function around(exporters: string): string {
  return `receivers:
  tcp:
connectors:
  journal: { driver: embedded }
exporters:
${exporters}
service:
  pipelines:
    traces/in: { receivers: [tcp], exporters: [journal] }
    traces/out: { receivers: [journal], exporters: [store] }
`
}
