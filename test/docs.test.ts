import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { registry } from '../cmd/registry.ts'
import { VERBS } from '../cmd/cli.ts'
import { referenceFiles } from '../config/reference.ts'
import { METRICS } from '../pipeline/telemetry/names.ts'

const read = (path: string): string => (existsSync(path) ? readFileSync(path, 'utf8') : '')
const generated = referenceFiles(registry, METRICS, read)

describe('generated docs', () => {
  it.each([...generated.keys()])('%s is what `npm run docs` writes', (path) => {
    expect(read(path)).toBe(generated.get(path))
  })

  it('have no page of a component that is gone', () => {
    const pages = readdirSync('docs/components').map((name) => `docs/components/${name}`)
    expect(pages.filter((page) => !generated.has(page))).toEqual([])
  })

  it('have text for every key of every config', () => {
    const untold = [...generated].flatMap(([path, text]) => {
      const table = text.slice(text.indexOf('<!-- config:begin -->'), text.indexOf('<!-- config:end -->'))
      return [...table.matchAll(/^\| `([^`]+)` \|.*\|\s*\|$/gm)].map((match) => `${path}: ${match[1] ?? ''}`)
    })
    expect(untold).toEqual([])
  })
})

describe('written docs', () => {
  const pages = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', ...markdownIn('docs')]

  it.each(pages)('%s links only to what exists', (page) => {
    const links = [...read(page).matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)].map((match) => match[1] ?? '')
    const local = links.filter((link) => !/^[a-z]+:/.test(link))
    expect(local.filter((link) => !existsSync(join(dirname(page), link)))).toEqual([])
  })

  it('name every verb and every dependency', () => {
    const readme = read('README.md')
    expect(VERBS.filter(({ name }) => !readme.includes(`weir ${name}`))).toEqual([])
    const { dependencies, devDependencies } = JSON.parse(read('package.json')) as Record<string, object>
    const names = Object.keys({ ...dependencies, ...devDependencies })
    const told = read('docs/dependencies.md')
    expect(names.filter((name) => !told.includes(`\`${name}\``))).toEqual([])
    const rows = [...told.matchAll(/^\| (`.+?`) \|/gm)].map((match) => match[1] ?? '')
    const listed = rows.flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? ''))
    expect(listed.filter((name) => !names.includes(name))).toEqual([])
  })
})

function markdownIn(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`
    if (entry.isDirectory()) return markdownIn(path)
    return entry.name.endsWith('.md') ? [path] : []
  })
}
