import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { toonRig } from '../../test/support/toon-rig.ts'
import { openApi, openApiFile } from './openapi.ts'

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, { operationId: string }>>>>
  readonly components: { readonly schemas: Readonly<Record<string, object>> }
}

describe('the OpenAPI document', () => {
  const document = openApi() as Document

  it('is what docs/toon-openapi.json holds (npm run docs) and what the receiver serves', async () => {
    const file = 'docs/toon-openapi.json'
    expect(existsSync(file) ? readFileSync(file, 'utf8') : '').toBe(openApiFile())
    const rig = await toonRig()
    expect((await rig.ask('GET', '/openapi.json')).json).toEqual(document)
  })

  it('refers only to what it has, with one id per operation', () => {
    const text = JSON.stringify(document)
    const refs = [...text.matchAll(/"\$ref":"#\/components\/(\w+)\/(\w+)"/g)]
    expect(refs.length).toBeGreaterThan(20)
    const components = document.components as Record<string, Record<string, unknown>>
    expect(refs.filter(([, kind = '', name = '']) => components[kind]?.[name] === undefined)).toEqual([])
    expect(text).not.toMatch(/"\$ref":"(?!#\/components)/)
    const ids = Object.values(document.paths).flatMap((path) =>
      Object.values(path).map(({ operationId }) => operationId),
    )
    expect(new Set(ids).size).toBe(ids.length)
  })

  it('names only routes that are there', async () => {
    const rig = await toonRig()
    for (const [path, methods] of Object.entries(document.paths)) {
      for (const method of Object.keys(methods)) {
        const answer = await rig.ask(
          method.toUpperCase(),
          path.replace('{run_id}', 'none'),
          method === 'post' ? {} : undefined,
        )
        const isRoute =
          answer.status !== 405 && !String(answer.json['detail']).startsWith('there is nothing at')
        expect([method, path, isRoute]).toEqual([method, path, true])
      }
    }
  })
})
