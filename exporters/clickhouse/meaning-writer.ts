import type { Batch } from '../../pipeline/batch/batch.ts'
import { COST_STATUS, COSTS, TOKENS, type SpanFacts } from '../../pipeline/batch/facts.ts'
import { halves } from '../../pipeline/batch/halves.ts'
import { factsOf } from '../../pipeline/genai/facts-of.ts'
import { hintText } from '../../pipeline/genai/price-hints.ts'
import type { MeaningColumns } from './block.ts'

/** Column ← the texts of the facts. */
const TEXTS = [
  ['AgentName', 'agentName'],
  ['ToolName', 'toolName'],
  ['Operation', 'operation'],
  ['Provider', 'provider'],
  ['RequestModel', 'requestModel'],
  ['ResponseModel', 'responseModel'],
  ['PriceModel', 'priceModel'],
  ['ServiceTier', 'serviceTier'],
  ['FinishReason', 'finishReason'],
  ['UsageSemantics', 'usageSemantics'],
  ['CostReason', 'costReason'],
  ['PriceVersion', 'priceVersion'],
] as const

/**
 * What weir knows of spans, into the columns of contract section 6. Facts are columns themselves: they go over one by
 * one, a batch at a time, which takes a third of the time of going row by row (measured).
 */
export class MeaningWriter {
  readonly #columns: MeaningColumns

  constructor(columns: MeaningColumns) {
    this.#columns = columns
  }

  /** `rows`: those of the batch that go into the block, in order. */
  add(batch: Batch, rows: Int32Array): void {
    const facts = factsOf(batch)
    this.#place(batch, rows)
    this.#texts(facts, rows)
    this.#numbers(facts, rows)
    this.#cost(facts, rows)
  }

  #place({ meta }: Batch, rows: Int32Array): void {
    const c = this.#columns
    c.TenantId.addRepeated(c.TenantId.indexOfText(meta.tenant), rows.length)
    c.ProjectId.addRepeated(c.ProjectId.indexOfText(meta.project), rows.length)
    const seq = meta.wal?.seq ?? 0
    const first = meta.wal?.row ?? 0
    for (let i = 0; i < rows.length; i++) {
      c.WalSeq.addU64(seq)
      c.WalRow.addU32(first + rows[i]!)
    }
  }

  #texts(facts: SpanFacts, rows: Int32Array): void {
    const c = this.#columns
    for (const [column, fact] of TEXTS) c[column].addTexts(facts[fact].texts, facts[fact].indexes, rows)
    facts.runId.copyTo(c.RunId, rows)
    facts.sessionId.copyTo(c.SessionId, rows)
    facts.userId.copyTo(c.UserId, rows)
    if (facts.priceHints.size === 0) c.PriceHints.addRepeated(c.PriceHints.indexOfText(''), rows.length)
    else for (const row of rows) c.PriceHints.addText(hintText(facts.priceHints.get(row)))
  }

  #numbers(facts: SpanFacts, rows: Int32Array): void {
    const c = this.#columns
    c.Seq.addWords(facts.seq, rows, 1, 0)
    c.ModelCall.addValues(facts.leaf, rows)
    for (let i = 0; i < TOKENS.length; i++) c.tokens[i]!.addWords(facts.tokens, rows, TOKENS.length, i)
    c.TimeToFirstTokenMs.addWords(halves(facts.timeToFirstTokenMs), rows, 2, 0)
    c.SampleRate.addWords(halves(facts.sampleRate), rows, 2, 0)
  }

  #cost(facts: SpanFacts, rows: Int32Array): void {
    const c = this.#columns
    const costs = halves(facts.cost)
    for (let i = 0; i < COSTS.length; i++) c.costs[i]!.addWords(costs, rows, COSTS.length * 2, i * 2)
    const provided = halves(facts.costProvided)
    for (let i = 0; i < rows.length; i++) {
      const at = rows[i]! * 2
      // Negative: the sender gave none.
      if (provided[at + 1]! >>> 31 === 1) c.CostProvidedUsd.addNull()
      else c.CostProvidedUsd.addPair(provided[at]!, provided[at + 1]!)
    }
    const statuses = COST_STATUS.map((status) => c.CostStatus.indexOfText(status))
    for (let i = 0; i < rows.length; i++) c.CostStatus.addIndex(statuses[facts.costStatus[rows[i]!]!]!)
  }
}
