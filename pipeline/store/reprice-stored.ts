import type { Exporter, Processor } from '../component.ts'
import type { Node } from '../engine/node.ts'
import { reject } from '../fault.ts'
import type { Reprice, Repriceable, RepriceRequest, RepriceResult } from '../reprice.ts'
import type { ChainPlan } from './build-store.ts'

interface Pair {
  readonly store: Repriceable
  readonly price: Reprice
}

/** Finds the store and the processor that prices for it, and has them do it. */
export async function repriceStored(
  chains: readonly ChainPlan[],
  started: ReadonlySet<Node>,
  request: RepriceRequest,
  signal: AbortSignal,
): Promise<RepriceResult> {
  const pairs = pairsOf(chains.filter(({ exporter }) => started.has(exporter)))
  const [only] = pairs.values()
  const pair = request.exporter === undefined ? only : pairs.get(request.exporter)
  if (request.exporter === undefined && pairs.size > 1) {
    const names = [...pairs.keys()].join(', ')
    throw reject('REQUEST_INVALID', `several exporters can be repriced: name one of ${names}`)
  }
  if (pair !== undefined) return await pair.store.reprice(request, pair.price, signal)
  const who = request.exporter === undefined ? 'no exporter can' : `exporter ${request.exporter} cannot`
  throw reject(
    'NOT_FOUND',
    `${who} be repriced now: that takes a running clickhouse exporter behind a cost processor in a store pipeline`,
  )
}

function pairsOf(chains: readonly ChainPlan[]): ReadonlyMap<string, Pair> {
  const pairs = new Map<string, Pair>()
  for (const { chain, exporter, processors } of chains) {
    const store = (exporter.component as Exporter).repriceable
    const price = processors
      .map((node) => (node.component as Processor).reprice)
      .find((each) => each !== undefined)
    if (store !== undefined && price !== undefined) pairs.set(chain.exporterId, { store, price })
  }
  return pairs
}
