// Completes package-lock.json after `npm install`: a registry mirror that carries only some platforms makes npm leave
// out the optional packages of the others, and `npm ci` then refuses the lock file ("Missing: … from lock file") on
// every machine. Their versions are pinned by the package that wants them; their platform is in their name.
// Such an entry has no integrity: npm adds it when the lock is next written against a full registry.
import { readFileSync, writeFileSync } from 'node:fs'

const OS = ['darwin', 'linux', 'win32', 'android', 'freebsd', 'openharmony']
const CPU = ['arm64', 'x64', 'ia32', 'arm', 'ppc64', 'riscv64', 's390x']

const path = new URL('../package-lock.json', import.meta.url)
const lock = JSON.parse(readFileSync(path, 'utf8'))

function platformOf(name) {
  const words = name.split(/[/-]/)
  const os = OS.filter((word) => words.includes(word))
  const cpu = CPU.filter((word) => words.includes(word))
  if (os.length !== 1 || cpu.length !== 1) throw new Error(`cannot tell the platform of ${name}`)
  const libc = words.some((word) => word.startsWith('musl')) ? 'musl' : 'glibc'
  const hasLibc = words.some((word) => /^(musl|gnu)/.test(word)) && os[0] === 'linux'
  return { cpu, ...(hasLibc && { libc: [libc] }), os }
}

const added = []
for (const [, wanting] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(wanting.optionalDependencies ?? {})) {
    const key = `node_modules/${name}`
    if (lock.packages[key] !== undefined) continue
    if (!/^\d+\.\d+\.\d+/.test(version)) throw new Error(`${name} is not pinned: ${version}`)
    const { cpu, libc, os } = platformOf(name)
    const dev = wanting.dev === true && { dev: true }
    lock.packages[key] = { version, cpu, ...dev, ...(libc && { libc }), optional: true, os }
    added.push(name)
  }
}
lock.packages = Object.fromEntries(
  Object.entries(lock.packages).sort(([a], [b]) => (a === '' ? -1 : b === '' ? 1 : a.localeCompare(b, 'en'))),
)
if (added.length > 0) writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`)
console.log(added.length === 0 ? 'package-lock.json is complete' : `added: ${added.join(', ')}`)
