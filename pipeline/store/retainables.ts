import type { Exporter, Processor } from '../component.ts'
import type { Connector } from '../factory.ts'
import type { Retainable } from '../retention.ts'
import type { ChainPlan } from './build-store.ts'

/** What deletes by itself what is over its time: exporters, what their processors have put aside, connectors. Each store once. */
export function retainablesOf(
  chains: readonly ChainPlan[],
  connectors: readonly Connector[],
): readonly Retainable[] {
  const nodes = chains.flatMap(({ exporter, processors }) => [exporter, ...processors])
  const all = [
    ...nodes.flatMap(({ component }) => (component as Exporter | Processor).retainable ?? []),
    ...connectors.flatMap(({ retainables }) => retainables ?? []),
  ]
  return [...new Map(all.map((retainable) => [retainable.store, retainable])).values()]
}
