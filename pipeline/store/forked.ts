import { fork, type ChildProcess } from 'node:child_process'
import { messageOf } from '../fault.ts'
import { memoryBudget } from '../memory-budget.ts'
import type { StoreHealth, StoreMethods } from './protocol.ts'
import { Rpc, type Channel } from './rpc.ts'

/** A store process that loads its code, and then waits to be told what to run. It goes when this process does. */
export interface StoreChild {
  readonly process: ChildProcess
  readonly rpc: Rpc<StoreMethods>
  /** Resolves with how it ended. */
  readonly ended: Promise<string>
}

export function forkStore(modulePath: string): StoreChild {
  const { isRoomy, semiSpaceMib } = memoryBudget()
  const child = fork(modulePath, [], {
    serialization: 'advanced',
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    // Batches live for one range: with V8's 16 MiB instead of 64 they are moved to the old space first (5 % of this process's CPU).
    execArgv: [`--max-semi-space-size=${semiSpaceMib}`, ...process.execArgv],
    // Statements of embedded ClickHouse each hold a thread of libuv's pool while they run: 4 would let queries block inserts.
    env: { UV_THREADPOOL_SIZE: '8', ...(isRoomy ? {} : FRUGAL), ...process.env },
  })
  return { process: child, rpc: new Rpc<StoreMethods>(forkChannel(child), {}), ended: endOf(child) }
}

/**
 * mallopt(3): left alone, glibc keeps what each of its threads frees, and after the first large block that is freed it takes
 * the next ones of that size from such memory, too.
 */
const FRUGAL = {
  MALLOC_ARENA_MAX: '2',
  MALLOC_MMAP_THRESHOLD_: '131072',
  MALLOC_TRIM_THRESHOLD_: '131072',
} as const

/** How a child process ended, in words. An error of a child that runs (a message that could not be sent) is no end. */
function endOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once('exit', (code, signal) => resolve(`the store process ended (${signal ?? `code ${code}`})`))
    child.on('error', (error) => {
      if (child.pid === undefined) resolve(`the store process could not be started: ${messageOf(error)}`)
    })
  })
}

function forkChannel(child: ChildProcess): Channel {
  return {
    send: (message) => {
      if (child.connected) child.send(message as object, () => undefined)
    },
    onMessage: (listener) => void child.on('message', listener),
    onClose: (listener) => {
      child.once('disconnect', listener)
      // A process that could not be forked never connects, so it never disconnects.
      child.once('error', () => child.pid === undefined && listener())
    },
  }
}

export function downHealth(why: string): StoreHealth {
  return {
    components: [
      {
        name: 'process:store',
        group: 'extensions',
        status: 'StatusRecoverableError',
        error: why,
        sinceMs: Date.now(),
      },
    ],
    degraded: [`process:store: ${why}`],
  }
}
