import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { globSync } from 'tinyglobby'
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

describe('the catalogue of metrics', () => {
  it('has none that nothing counts', () => {
    const code = globSync(
      '{cmd,pipeline,receivers,processors,connectors,exporters,extensions,jobs}/**/*.ts',
      {
        ignore: ['**/*.test.ts', 'pipeline/telemetry/names.ts'],
      },
    )
    const text = code.map(read).join('\n')
    expect(Object.keys(METRICS).filter((name) => !text.includes(`'${name}'`))).toEqual([])
  })

  it('has every metric that the pages name, with its labels', () => {
    const wrong = ['README.md', ...markdownIn('docs')].flatMap((page) =>
      [...read(page).matchAll(/`((?:weir|otelcol)_[a-z0-9_]+)(?:\{([^}`]*)\})?/g)]
        .filter(([, name = '', labels]) => !isMetric(name, labels))
        .map(([found]) => `${page}: ${found}`),
    )
    expect(wrong).toEqual([])
  })
})

/** `weir_job_*` and `weir_tail_sampling_{late_violations,…}` are several. */
function isMetric(name: string, labels = ''): boolean {
  const given = labels.split(/[,|]/).map((label) => label.replace(/=.*/, '').trim())
  if (name.endsWith('_')) {
    return given.every((rest) => Object.keys(METRICS).some((known) => known.startsWith(name + rest)))
  }
  const known = Object.entries(METRICS).find(([known]) => known === name)?.[1]
  return (
    given.every((label) => label === '' || label.startsWith('"') || known?.labels.includes(label)) &&
    known !== undefined
  )
}

function markdownIn(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`
    if (entry.isDirectory()) return markdownIn(path)
    return entry.name.endsWith('.md') ? [path] : []
  })
}
