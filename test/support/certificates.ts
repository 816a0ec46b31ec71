import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export const hasOpenssl = spawnSync('openssl', ['version']).status === 0

/** Authorities and certificates as PEM files `<name>.pem` and `<name>.key` in a folder. */
export class Certificates {
  readonly folder: string

  constructor(folder: string) {
    this.folder = folder
  }

  at(name: string): string {
    return join(this.folder, name)
  }

  read(name: string): string {
    return readFileSync(this.at(name), 'utf8')
  }

  authority(name: string): void {
    this.#run('req', '-x509', ...this.#key(name), '-out', this.at(`${name}.pem`), '-subj', `/CN=${name}`)
  }

  /** Signed by `ca`, good for `days` (negative: no longer). */
  certificate(name: string, ca: string, altName: string, days = 2): void {
    this.#run('req', ...this.#key(name), '-out', this.at(`${name}.csr`), '-subj', `/CN=${name}`)
    writeFileSync(this.at(`${name}.ext`), `subjectAltName=${altName}\n`)
    const signing = ['-CA', this.at(`${ca}.pem`), '-CAkey', this.at(`${ca}.key`), '-CAcreateserial']
    const files = [
      '-in',
      this.at(`${name}.csr`),
      '-extfile',
      this.at(`${name}.ext`),
      '-out',
      this.at(`${name}.pem`),
    ]
    this.#run('x509', '-req', ...signing, '-days', String(days), ...files)
  }

  #key(name: string): string[] {
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256']
    return [...curve, '-nodes', '-keyout', this.at(`${name}.key`)]
  }

  #run(...args: string[]): void {
    execFileSync('openssl', args, { stdio: 'pipe' })
  }
}
