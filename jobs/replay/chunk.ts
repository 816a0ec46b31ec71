import type { Batch } from '../../pipeline/batch/batch.ts'

/** What is delivered, and noted as done, together. */
export interface Chunk {
  /** Names its place in the source: with the selection it says what the chunk holds. */
  readonly name: string
  readonly batches: readonly Batch[]
  /** First and last sequence of the WAL; 0 from an archive. */
  readonly from: number
  readonly to: number
  /** Where the next chunk begins. */
  readonly next: Position
  readonly read: Read
}

/** What was read for a chunk, whether it was wanted or not. */
export interface Read {
  readonly spans: number
  readonly duplicates: number
  /** No OTLP, or rejected by a processor. */
  readonly refused: number
  /** Messages, objects or records that cannot be read. */
  readonly damaged: number
  readonly notes: readonly string[]
}

/** Where a source is read on from. */
export type Position =
  | { readonly in: 'log'; readonly seq: number }
  | {
      readonly in: 'archive'
      /** Objects up to this position are done. */
      readonly after: string
      /** And so many requests of the object at this one. */
      readonly within: string
      readonly requests: number
    }
  | { readonly in: 'prices'; readonly fromMs: number }
  | { readonly in: 'end' }
