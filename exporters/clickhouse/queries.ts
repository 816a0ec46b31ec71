import { readdir, readFile } from 'node:fs/promises'

/** A query that analysts ask often, as a file: `queries/NN-name.sql`. The first comment says what it answers. */
export interface NamedQuery {
  readonly name: string
  readonly summary: string
  readonly sql: string
  /** Parameters with their ClickHouse types, in order; all must be given. */
  readonly params: readonly { readonly name: string; readonly type: string }[]
}

const FOLDER = new URL('queries/', import.meta.url)

export async function namedQueries(): Promise<NamedQuery[]> {
  const files = (await readdir(FOLDER)).filter((file) => /^\d\d-[a-z-]+\.sql$/.test(file)).sort()
  return await Promise.all(
    files.map(async (file) =>
      queryOf(file.slice(3, -'.sql'.length), await readFile(new URL(file, FOLDER), 'utf8')),
    ),
  )
}

function queryOf(name: string, text: string): NamedQuery {
  const comment = text.split('\n').filter((line) => line.startsWith('--'))
  const sql = text
    .replace(/^--.*$/gm, '')
    .trim()
    .replace(/;$/, '')
  const params = new Map(
    [...sql.matchAll(/\{(\w+):([\w()]+)\}/g)].map(([, param = '', type = '']) => [param, type]),
  )
  return {
    name,
    summary: comment.map((line) => line.replace(/^--\s*/, '')).join(' '),
    sql,
    params: [...params].map(([param, type]) => ({ name: param, type })),
  }
}
