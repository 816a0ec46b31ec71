// Compiles to dist/ and copies what tsc does not; AssemblyScript goes beside its sources, where tests find it, and is copied too. `--if-stale`: only when a source is newer than the last build.
// Runs with install scripts disabled too: `npm run demo|start|test` call it first.
import { spawnSync } from 'node:child_process'
import { chmodSync, cpSync, existsSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const folders = [
  'cmd',
  'config',
  'pipeline',
  'receivers',
  'processors',
  'exporters',
  'connectors',
  'extensions',
  'jobs',
  'proto',
  'bench',
]
const stamp = join(root, 'dist', '.build-stamp')
/** AssemblyScript → WebAssembly. */
const KERNELS = {
  'exporters/clickhouse/assembly/index.ts': 'exporters/clickhouse/kernel.wasm',
  'proto/otlp/assembly/index.ts': 'proto/otlp/scan.wasm',
}
const ASC_OPTIONS =
  '--optimizeLevel 3 --shrinkLevel 0 --noAssert --runtime minimal --use abort= --enable simd --enable bulk-memory'
const ASSETS = /\.(proto|sql|json|yaml|csv|wasm|xml)$/

function newest(path) {
  const stat = statSync(path)
  if (!stat.isDirectory()) return stat.mtimeMs
  return Math.max(stat.mtimeMs, ...readdirSync(path).map((name) => newest(join(path, name))))
}

function isFresh() {
  if (!existsSync(stamp)) return false
  const inputs = [
    ...folders,
    'package.json',
    'package-lock.json',
    'tsconfig.json',
    'tsconfig.build.json',
    'scripts/build.mjs',
  ]
  const built = statSync(stamp).mtimeMs
  return inputs.every((name) => !existsSync(join(root, name)) || newest(join(root, name)) <= built)
}

function compile(compiler, args) {
  const path = join(root, 'node_modules', compiler)
  const run = spawnSync(process.execPath, [path, ...args], { cwd: root, stdio: 'inherit' })
  if (run.status !== 0) process.exit(run.status ?? 1)
}

function build() {
  if (!existsSync(join(root, 'node_modules', 'typescript'))) {
    // A production install (`npm ci --omit=dev`) of a built package has no compiler and needs none.
    if (existsSync(stamp)) return
    process.stderr.write('weir: the compiler is missing; run `npm ci` (with dev dependencies) once\n')
    process.exit(1)
  }
  rmSync(join(root, 'dist'), { recursive: true, force: true })
  compile('typescript/bin/tsc', ['-p', 'tsconfig.build.json'])
  for (const [source, target] of Object.entries(KERNELS)) {
    compile('assemblyscript/bin/asc.js', [source, '--outFile', target, ...ASC_OPTIONS.split(' ')])
  }
  for (const folder of folders) {
    cpSync(join(root, folder), join(root, 'dist', folder), {
      recursive: true,
      filter: (source) => statSync(source).isDirectory() || ASSETS.test(source),
    })
  }
  const main = join(root, 'dist', 'cmd', 'main.js')
  if (existsSync(main)) chmodSync(main, 0o755)
  writeFileSync(stamp, new Date().toISOString())
}

if (!process.argv.includes('--if-stale') || !isFresh()) build()
