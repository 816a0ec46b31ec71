import type { ChildProcess } from 'node:child_process'
import { messageOf } from '../fault.ts'
import type { StoreHealth } from './protocol.ts'
import type { Channel } from './rpc.ts'

/** How a child process ended, in words. An error of a child that runs (a message that could not be sent) is no end. */
export function endOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once('exit', (code, signal) => resolve(`the store process ended (${signal ?? `code ${code}`})`))
    child.on('error', (error) => {
      if (child.pid === undefined) resolve(`the store process could not be started: ${messageOf(error)}`)
    })
  })
}

export function forkChannel(child: ChildProcess): Channel {
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
