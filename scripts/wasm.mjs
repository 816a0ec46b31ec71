// Assembles the .wat files. The results are committed; `--check` writes nothing and fails where one is not what its source says.
import { readFileSync, writeFileSync } from 'node:fs'
import wabt from 'wabt'

const SOURCES = ['processors/sanitizer/detect/scan.wat']

const tools = await wabt()
for (const path of SOURCES) {
  const module = tools.parseWat(path, readFileSync(path, 'utf8'), { simd: true })
  module.validate()
  const { buffer } = module.toBinary({})
  module.destroy()
  const result = path.replace(/\.wat$/, '.wasm')
  if (!process.argv.includes('--check')) writeFileSync(result, buffer)
  else if (!readFileSync(result).equals(buffer)) {
    process.stderr.write(`${result} is not what ${path} says: npm run wasm\n`)
    process.exitCode = 1
  }
}
