import { traceIdOf } from '../../pipeline/agent/ids.ts'
import type { Batch } from '../../pipeline/batch/batch.ts'
import { keyId } from '../../pipeline/batch/keys.ts'
import type { Params } from './params.ts'

const RUN_ID = keyId('agent.run.id')

/** Drops what is not asked for, as `skipped`. A span without a start counts by when it was received. */
export function selector(params: Params): (batch: Batch) => void {
  const { from = -Infinity, to = Infinity, tenant, run, trace } = params
  const isAll = from === -Infinity && to === Infinity && run === undefined && trace === undefined
  return (batch) => {
    const isOther = tenant !== undefined && batch.meta.tenant !== tenant
    if (isAll && !isOther) return
    const runTrace = run === undefined ? undefined : traceIdOf(batch.meta.tenant, run)
    const wanted = (row: number): boolean => {
      const ms = batch.startMs(row) || batch.meta.receivedAtMs
      if (ms < from || ms >= to) return false
      if (trace !== undefined && hexOf(batch.traceId(row)) !== trace) return false
      return run === undefined || runTrace?.equals(batch.traceId(row)) === true || runOf(batch, row) === run
    }
    for (let row = 0; row < batch.rows; row++) {
      if (batch.isLive(row) && (isOther || !wanted(row))) batch.drop(row, 'skipped')
    }
  }
}

function runOf(batch: Batch, row: number): string {
  return batch.string(batch.attr(row, RUN_ID))
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}
