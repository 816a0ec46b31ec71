import { readdir, unlink } from 'node:fs/promises'
import { basename, dirname, extname, join } from 'node:path'

/** Files that were put aside: `traces-2026-01-31T12-00-00.000.jsonl` for `traces.jsonl`, as the collector names them. */

const STAMP = /^\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}$/

export function backupName(path: string, atMs: number, local: boolean): string {
  const [stem, extension] = halves(path)
  return join(dirname(path), `${stem}-${stampOf(atMs, local)}${extension}`)
}

/** The day of `atMs`, to compare. */
export function dayOf(atMs: number, local: boolean): string {
  return stampOf(atMs, local).slice(0, 10)
}

export interface Keep {
  readonly maxDays: number
  readonly maxBackups: number
  readonly local: boolean
}

/** Deletes what is older or more than is kept; returns what went. */
export async function prune(
  path: string,
  { maxDays, maxBackups, local }: Keep,
  nowMs: number,
): Promise<string[]> {
  const names = await backupsOf(path)
  const oldest = maxDays === 0 ? '' : stampOf(nowMs - maxDays * 86_400_000, local)
  const gone = names.filter(
    (name, index) => stampIn(path, name) < oldest || (maxBackups > 0 && index < names.length - maxBackups),
  )
  for (const name of gone) await unlink(join(dirname(path), name))
  return gone
}

/** Files that were put aside, with the time at which, oldest first. */
export async function agedBackups(
  path: string,
  local: boolean,
): Promise<readonly { readonly file: string; readonly atMs: number }[]> {
  const names = await backupsOf(path)
  return names.map((name) => {
    const [day = '', time = ''] = stampIn(path, name).split('T')
    const text = `${day}T${time.replaceAll('-', ':')}`
    return { file: join(dirname(path), name), atMs: Date.parse(local ? text : `${text}Z`) }
  })
}

/** Oldest first. */
export async function backupsOf(path: string): Promise<string[]> {
  const names = await readdir(dirname(path))
  return names.filter((name) => STAMP.test(stampIn(path, name))).sort()
}

/** '' where the name is not of such a file. */
function stampIn(path: string, name: string): string {
  const [stem, extension] = halves(path)
  if (!name.startsWith(`${stem}-`) || !name.endsWith(extension)) return ''
  return name.slice(stem.length + 1, name.length - extension.length)
}

function halves(path: string): [stem: string, extension: string] {
  const name = basename(path)
  const packed = /\.(gz|zst)$/.exec(name)?.[0] ?? ''
  const plain = name.slice(0, name.length - packed.length)
  const stem = basename(plain, extname(plain))
  return [stem, name.slice(stem.length)]
}

function stampOf(atMs: number, local: boolean): string {
  const shift = local ? new Date(atMs).getTimezoneOffset() * 60_000 : 0
  return new Date(atMs - shift).toISOString().slice(0, -1).replaceAll(':', '-')
}
