// Writes what is generated: the config tables in the components' READMEs, docs/components, docs/errors.md,
// docs/metrics.md, docs/toon-openapi.json, the service table of docs/configuration.md and config/schema.json. Run by `npm run docs` after a build.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { registry } from '../dist/cmd/registry.js'
import { referenceFiles } from '../dist/config/reference.js'
import { METRICS } from '../dist/pipeline/telemetry/names.js'
import { openApiFile } from '../dist/receivers/toon/openapi.js'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const files = referenceFiles(registry, METRICS, (path) => readFileSync(join(root, path), 'utf8'))

files.set('docs/toon-openapi.json', openApiFile())

const pages = join(root, 'docs', 'components')
mkdirSync(pages, { recursive: true })
for (const name of readdirSync(pages)) {
  if (!files.has(`docs/components/${name}`)) rmSync(join(pages, name))
}
for (const [path, text] of files) writeFileSync(join(root, path), text)
console.log(`${files.size} files are up to date`)
