import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { join } from 'node:path'

const MIB = 2 ** 20

/** From /proc; undefined when the process has ended. Linux only. */
export function memoryMiB(pid: number | undefined): number | undefined {
  const status = fileOf(`/proc/${pid}/status`)
  const kib = status === undefined ? undefined : /^VmRSS:\s+(\d+)/m.exec(status)?.[1]
  return kib === undefined ? undefined : Number(kib) / 1024
}

/** Open files and sockets. Not those in /proc: ClickHouse holds three for each thread of its pools. */
export function descriptors(pid: number | undefined): number | undefined {
  try {
    return readdirSync(`/proc/${pid}/fd`).filter((fd) => !isProc(`/proc/${pid}/fd/${fd}`)).length
  } catch {
    return undefined
  }
}

function isProc(link: string): boolean {
  try {
    return readlinkSync(link).startsWith('/proc/')
  } catch {
    // Closed meanwhile.
    return true
  }
}

function fileOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

/** What a directory takes of the disk. What goes away meanwhile counts nothing. */
export function diskMiB(directory: string): number {
  let blocks = 0
  let names: string[] = []
  try {
    names = readdirSync(directory, { recursive: true, encoding: 'utf8' })
  } catch {
    return 0
  }
  for (const name of names) blocks += statSync(join(directory, name), { throwIfNoEntry: false })?.blocks ?? 0
  return (blocks * 512) / MIB
}

/** Least squares: how much `y` grows per unit of `x`. */
export function slope(points: readonly (readonly [x: number, y: number])[]): number {
  const mean = (at: 0 | 1): number => points.reduce((sum, point) => sum + point[at], 0) / points.length
  const [meanX, meanY] = [mean(0), mean(1)]
  const over = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0)
  const under = points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0)
  return under === 0 ? 0 : over / under
}
