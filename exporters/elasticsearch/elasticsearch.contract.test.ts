import { deliveryContract, type Judge } from '../../test/contract/delivery.ts'
import { exporterContext, exporterContract } from '../../test/contract/exporter.ts'
import { startElasticsearch, type BulkRuling } from '../../test/support/elasticsearch.ts'
import { config } from './config.ts'
import { elasticsearch } from './factory.ts'

const elasticsearchMaker = await elasticsearch.load()

async function destination(judge: Judge) {
  const spanIds = new Map<string, string>()
  const cluster = await startElasticsearch({
    rule: (actions): BulkRuling => {
      for (const { id, source } of actions) spanIds.set((source['span'] as { id: string }).id, id)
      const here = new Set(actions.map(({ source }) => (source['span'] as { id: string }).id))
      const { ruling, bad, slowMs } = judge((id) => here.has(id))
      if (ruling === 'refuse') return { status: 429 }
      if (ruling === 'hang') return { hang: true }
      if (ruling === 'reject') return { status: 400 }
      const refused = bad.map((id) => [spanIds.get(id) ?? '', [400, 'document_parsing_exception']] as const)
      return { slowMs, lost: ruling === 'lose', ...(ruling === 'partial' && { items: new Map(refused) }) }
    },
  })
  const options = { endpoint: cluster.url, timeout: '400ms', batch: { max_spans: 700 } }
  return {
    make: () => elasticsearchMaker.create(config.parse(options), exporterContext('elasticsearch')),
    stored: () =>
      Promise.resolve(
        Array.from(cluster.documents.values(), (source) => (source['span'] as { id: string }).id),
      ),
    close: () => cluster.close(),
  }
}

deliveryContract({
  name: 'elasticsearch',
  exactlyOnce: true,
  weathers: ['accept', 'retry', 'reject', 'partial', 'slow', 'hang', 'restart'],
  spans: 5000,
  open: destination,
})

exporterContract({
  name: 'elasticsearch',
  exactlyOnce: true,
  make: async () => {
    const place = await destination(() => ({ ruling: 'take', bad: [], slowMs: 0 }))
    return { exporter: place.make(), stored: place.stored, close: place.close }
  },
})
