import { expect, it } from 'vitest'
import type { Component } from '../component.ts'
import { retry } from '../fault.ts'
import { StatusBoard } from '../status-board.ts'
import { RANK, startAll, stopAll, type Node } from './node.ts'

const board = (): StatusBoard => new StatusBoard(Date.now)

function node(name: string, rank: number, component: Component): Node {
  return { name, group: 'pipeline:traces', key: name, rank, component }
}

function recording(order: string[], name: string, rank: number, more: Component = {}): Node {
  return node(name, rank, {
    start: async () => void order.push(`+${name}`),
    stop: async () => void order.push(`-${name}`),
    ...more,
  })
}

it('starts sinks first, stops sources first', async () => {
  const order: string[] = []
  const nodes = [
    recording(order, 'in', RANK.receiver),
    recording(order, 'mid', RANK.processor),
    recording(order, 'wal', RANK.connector),
  ]
  await startAll(nodes, board())
  await stopAll(nodes, AbortSignal.timeout(1000), board())
  expect(order).toEqual(['+wal', '+mid', '+in', '-in', '-mid', '-wal'])
})

it('stops what has started when one cannot, names it, and keeps whether a later try may succeed', async () => {
  const order: string[] = []
  const failing = node('bad', RANK.receiver, {
    start: () => Promise.reject(retry('EXPORT_UNAVAILABLE', 'no')),
  })
  const status = board()
  await expect(startAll([failing, recording(order, 'wal', RANK.connector)], status)).rejects.toMatchObject({
    code: 'START_FAILED',
    message: 'bad did not start: no',
    verdict: { do: 'retry' },
  })
  expect(order).toEqual(['+wal', '-wal'])
  expect(status.list().find(({ name }) => name === 'bad')).toMatchObject({
    status: 'StatusFatalError',
    error: 'no',
  })
})

it('leaves a component that does not heed the deadline and says so; others are not held up', async () => {
  const order: string[] = []
  const stuck = node('stuck', RANK.receiver, { stop: () => new Promise<void>(() => undefined) })
  const nodes = [stuck, recording(order, 'wal', RANK.connector)]
  expect(await stopAll(nodes, AbortSignal.abort(), board())).toEqual(['stuck: did not stop by the deadline'])
  expect(order).toEqual(['-wal'])
})

it('stops more components than an event target takes for a leak, and warns nobody', async () => {
  const warnings: string[] = []
  const note = ({ name }: Error): void => void warnings.push(name)
  process.on('warning', note)
  const nodes = Array.from({ length: 12 }, (_, i) => recording([], `n${i}`, RANK.processor))
  await stopAll(nodes, AbortSignal.timeout(1000), board())
  await new Promise(setImmediate)
  process.off('warning', note)
  expect(warnings).toEqual([])
})

it('forgets the status of what no longer runs, not of its namesake in another pipeline', () => {
  const status = board()
  status.set('processor:auth', 'pipeline:a', 'StatusOK')
  status.set('processor:auth', 'pipeline:b', 'StatusOK')
  status.retain([{ name: 'processor:auth', group: 'pipeline:b' }])
  expect(status.list().map(({ group }) => group)).toEqual(['pipeline:b'])
})
