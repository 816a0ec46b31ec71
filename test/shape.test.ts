import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { describe, expect, it } from 'vitest'

/** The shape of the tree: what makes adding a component one folder and one line, and keeps files small enough to read. */

const KINDS = ['receivers', 'processors', 'exporters', 'connectors', 'extensions', 'jobs']
const FOLDERS = [...KINDS, 'pipeline', 'proto', 'config', 'cmd', 'bench']
const components = KINDS.flatMap((kind) =>
  readdirSync(kind, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => `${kind}/${entry.name}`),
)
const sources = FOLDERS.flatMap(filesIn).filter((file) => /\.m?ts$/.test(file))
const code = sources.filter((file) => !file.includes('.test.'))

function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
}

/** Lines that are neither blank nor comment, as lint counts them. */
function linesOf(text: string): number {
  const bare = text.replace(/\/\*[\s\S]*?\*\//g, '')
  return bare.split('\n').filter((line) => line.trim() !== '' && !line.trim().startsWith('//')).length
}

function importsOf(file: string): string[] {
  const specifiers = [...readFileSync(file, 'utf8').matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)]
  return specifiers.map((match) => normalize(join(dirname(file), match[1] ?? '')))
}

describe('a component folder', () => {
  it.each(components)('%s has config.ts, factory.ts, a test and a README of the fixed headings', (folder) => {
    for (const name of ['config.ts', 'factory.ts', 'README.md']) {
      expect(existsSync(join(folder, name)), `${folder}/${name}`).toBe(true)
    }
    expect(filesIn(folder).some((file) => file.endsWith('.test.ts'))).toBe(true)
    const readme = readFileSync(join(folder, 'README.md'), 'utf8')
    const headings = [...readme.matchAll(/^## (.+)$/gm)].map((match) => match[1])
    const wanted = ['What it does', 'Config', 'Metrics', 'Errors', 'Example']
    expect(headings.filter((heading) => wanted.includes(heading ?? ''))).toEqual(wanted)
    expect(readme).toMatch(/<!-- config:begin -->[\s\S]*<!-- config:end -->/)
  })

  it.each(components)('%s is named as its type, and listed in one line of its kind', (folder) => {
    const [kind = '', name = ''] = folder.split('/')
    expect(readFileSync(join(folder, 'factory.ts'), 'utf8')).toContain(`type: '${name.replaceAll('-', '_')}'`)
    const list = readFileSync(join(kind, 'index.ts'), 'utf8')
    expect(list).toContain(`'./${name}/factory.ts'`)
  })
})

describe('source files', () => {
  it('are kebab-case', () => {
    const odd = sources.filter(
      (file) =>
        !/^[a-z0-9]+(-[a-z0-9]+)*(\.contract|\.bench|\.d)?(\.test)?\.m?ts$/.test(
          file.split('/').at(-1) ?? '',
        ),
    )
    expect(odd).toEqual([])
  })

  it('number each migration once', () => {
    const files = readdirSync('exporters/clickhouse/migrations').filter((file) => file.endsWith('.sql'))
    const numbers = files.toSorted().map((file) => Number(file.slice(0, 4)))
    expect(numbers).toEqual(numbers.map((_, index) => index + 1))
  })

  it('have at most 300 lines of code, codecs 500', () => {
    const long = code.filter((file) => {
      const limit = file.startsWith('proto/') ? 500 : 300
      return linesOf(readFileSync(file, 'utf8')) > limit
    })
    expect(long).toEqual([])
  })

  it('export by name, have no enum, and leave nothing to do', () => {
    const odd = code.filter((file) =>
      /^export default|^\s*(export )?(const )?enum |\/\/ ?(TODO|FIXME|XXX)/m.test(readFileSync(file, 'utf8')),
    )
    expect(odd).toEqual([])
  })
})

describe('imports', () => {
  /** What each folder may import of ours (design section 4): one way, from the top to the bytes. */
  const LAW: Readonly<Record<string, readonly string[]>> = {
    proto: [],
    pipeline: ['proto'],
    config: ['pipeline', 'proto'],
    ...Object.fromEntries(KINDS.map((kind) => [kind, ['pipeline', 'proto']])),
  }

  it.each(Object.keys(LAW))('of %s go down only', (folder) => {
    const allowed = [folder, ...(LAW[folder] ?? [])]
    const wrong = code
      .filter((file) => file.startsWith(`${folder}/`))
      .flatMap((file) => importsOf(file).map((target) => ({ file, target })))
      .filter(({ target }) => !allowed.includes(target.split('/')[0] ?? ''))
    expect(wrong).toEqual([])
  })

  it('of a component never reach a sibling', () => {
    const wrong = components.flatMap((folder) =>
      filesIn(folder)
        .filter((file) => file.endsWith('.ts') && !file.includes('.test.'))
        .flatMap((file) => importsOf(file).map((target) => ({ file, target })))
        .filter(
          ({ target }) => KINDS.includes(target.split('/')[0] ?? '') && !target.startsWith(`${folder}/`),
        ),
    )
    expect(wrong).toEqual([])
  })

  it('of all components meet in one file', () => {
    const knowing = code.filter((file) =>
      importsOf(file).some(
        (target) => /^(\w+)\/index\.ts$/.test(target) && KINDS.includes(target.split('/')[0] ?? ''),
      ),
    )
    expect(knowing).toEqual(['cmd/registry.ts'])
  })
})

describe('the lock file', () => {
  const text = readFileSync('package-lock.json', 'utf8')
  const { packages } = JSON.parse(text) as {
    packages: Record<string, { optionalDependencies?: Record<string, string>; resolved?: string }>
  }

  it('has the optional packages of every platform, or `npm ci` refuses it: `npm run lock`', () => {
    const wanted = Object.values(packages).flatMap((entry) => Object.keys(entry.optionalDependencies ?? {}))
    expect(wanted.filter((name) => packages[`node_modules/${name}`] === undefined)).toEqual([])
  })

  it('names no registry', () => {
    expect(Object.keys(packages).filter((path) => packages[path]?.resolved !== undefined)).toEqual([])
  })
})
