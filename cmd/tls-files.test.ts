import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Certificates, hasOpenssl } from '../test/support/certificates.ts'
import { runCli } from './cli.ts'

let pki: Certificates

beforeAll(() => {
  pki = new Certificates(mkdtempSync(join(tmpdir(), 'weir-tls-files-')))
  if (!hasOpenssl) return
  pki.authority('ca')
  for (const name of ['one', 'two']) pki.certificate(name, 'ca', 'DNS:localhost')
  writeFileSync(pki.at('broken.pem'), '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n')
  writeFileSync(pki.at('empty.pem'), '')
})
afterAll(() => rmSync(pki.folder, { recursive: true }))

/** The errors of `validate --connect` with these blocks at a receiver, an exporter and an extension, by line. */
async function errors(receiver: object, exporter: object = {}, extension?: object): Promise<string[]> {
  const file = pki.at('weir.yaml')
  const state =
    extension === undefined
      ? `directory: ${pki.at('state')}`
      : `driver: jetstream, servers: ["nats://127.0.0.1:1"], tls: ${JSON.stringify(extension)}`
  writeFileSync(
    file,
    `receivers:
  otlp:
    protocols:
      http:
        tls: ${JSON.stringify(receiver)}
  otlp/idle: { protocols: { http: { tls: { cert_file: none, key_file: none } } } }
exporters:
  otlp: { endpoint: 127.0.0.1:1, tls: ${JSON.stringify(exporter)} }
extensions:
  state: { ${state} }
service:
  extensions: [state]
  pipelines: { traces: { receivers: [otlp], exporters: [otlp] } }
`,
  )
  let out = ''
  await runCli(['validate', '--connect', '--json', '--config', file], {
    out: (text) => void (out += text),
    err: () => undefined,
    env: {},
    tty: false,
  })
  // The private keys are the only secrets here.
  for (const name of ['one', 'two']) expect(out).not.toContain(pki.read(`${name}.key`).split('\n')[1])
  const found = JSON.parse(out) as { errors: { line: number; path: string; message: string }[] }
  return found.errors.map(({ line, path, message }) => `${line} ${path}: ${message}`)
}

const served = (cert: string, key: string) => ({ cert_file: pki.at(cert), key_file: pki.at(key) })

describe.skipIf(!hasOpenssl)('validate --connect and the files of TLS (needs the openssl command)', () => {
  it('finds nothing wrong with what works', async () => {
    const mutual = { ...served('one.pem', 'one.key'), client_ca_file: pki.at('ca.pem') }
    const ours = { ca_file: pki.at('ca.pem'), cert_pem: pki.read('two.pem'), key_pem: pki.read('two.key') }
    expect(await errors(mutual, ours, served('two.pem', 'two.key'))).toEqual([])
  })

  it('names every file that is missing, in receivers, exporters and extensions', async () => {
    const found = await errors(
      served('one.pem', 'gone.key'),
      { ca_file: pki.at('gone.pem') },
      served('gone.pem', 'one.key'),
    )
    expect(found).toEqual([
      expect.stringMatching(
        /^5 receivers\.otlp\.protocols\.http\.tls\.key_file: cannot read .*gone\.key: ENOENT/,
      ),
      expect.stringMatching(/^8 exporters\.otlp\.tls\.ca_file: cannot read .*gone\.pem: ENOENT.* may read$/),
      expect.stringMatching(/^10 extensions\.state\.tls\.cert_file: cannot read .*gone\.pem: ENOENT/),
    ])
  })

  it.each([
    [
      'another certificate’s key',
      'one.pem',
      'two.key',
      /key_file: is not the key of the certificate in cert_file/,
    ],
    ['a key that is none', 'one.pem', 'one.pem', /key_file: holds no private key/],
    ['an empty key', 'one.pem', 'empty.pem', /key_file: holds no private key/],
    ['a certificate that is none', 'one.key', 'one.key', /cert_file: holds no certificate/],
    ['a broken certificate', 'broken.pem', 'one.key', /cert_file: holds no certificate/],
    ['a folder', '.', 'one.key', /cert_file: cannot read .*EISDIR/],
  ])('tells of %s', async (_, cert, key, message) => {
    expect(await errors(served(cert, key))).toEqual([expect.stringMatching(message)])
  })

  it.each([
    ['none', 'one.key', 'holds no certificate'],
    ['an empty one', 'empty.pem', 'holds no certificate'],
    ['a broken one', 'broken.pem', 'holds a certificate that cannot be read'],
  ])('tells of an authority that is %s, which Node takes in silence', async (_, ca, message) => {
    const mutual = { ...served('one.pem', 'one.key'), client_ca_file: pki.at(ca) }
    const found = await errors(mutual, { ca_file: pki.at(ca) })
    expect(found).toEqual([expect.stringContaining(message), expect.stringContaining(message)])
    expect(found[0]).toContain('receivers.otlp.protocols.http.tls.client_ca_file')
  })
})
