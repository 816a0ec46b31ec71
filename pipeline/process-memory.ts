import { readFileSync } from 'node:fs'
import { totalmem } from 'node:os'
import { getHeapStatistics } from 'node:v8'

/** What this process takes of what it may take, in bytes. */
export interface MemoryUse {
  /**
   * Memory that only this process can give back. On Linux without the pages of mapped files: an LMDB file that was
   * read through stands in the resident set and costs nobody anything.
   */
  readonly residentBytes: number
  /** The same of this process and those that it has forked. */
  readonly allBytes: number
  readonly heapBytes: number
  /** V8 ends the process when its heap reaches this. */
  readonly heapLimitBytes: number
}

export function memoryUse(): MemoryUse {
  const { used_heap_size: heapBytes, heap_size_limit: heapLimitBytes } = getHeapStatistics()
  const residentBytes = anonymousBytes('self') ?? process.memoryUsage.rss()
  const allBytes = forked().reduce((sum, pid) => sum + (anonymousBytes(pid) ?? 0), residentBytes)
  return { residentBytes, allBytes, heapBytes, heapLimitBytes }
}

/** Bytes of memory that this process may have: its cgroup's limit, or the machine's. */
export function memoryLimit(): number {
  const constrained = process.constrainedMemory()
  return constrained > 0 ? Math.min(constrained, totalmem()) : totalmem()
}

/** proc(5): RssAnon is what is not backed by a file, in kB. Undefined where there is no such file. */
function anonymousBytes(pid: string): number | undefined {
  try {
    const match = /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))
    return match === null ? undefined : Number(match[1]) * 1024
  } catch {
    return undefined
  }
}

/** proc(5): of the main thread, which alone forks. None where the kernel does not tell. */
function forked(): readonly string[] {
  try {
    const pids = readFileSync(`/proc/self/task/${process.pid}/children`, 'latin1').trim()
    return pids === '' ? [] : pids.split(' ')
  } catch {
    return []
  }
}
