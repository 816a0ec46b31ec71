import { decodeBatch } from '../batch/otlp-batch.ts'
import type { DeadLetters, NewDeadLetter } from './dead-letter.ts'
import { metaOf, memberOf, type PreparedBatch, type PreparedRange, type Refused } from './reader-prepare.ts'
import type { Damaged, Missing, SourceMember } from './reader-source.ts'

/** Rows of a prepared batch of which the destination will never take `count`: all, where it says which. */
export interface RejectedRows {
  readonly batch: PreparedBatch
  readonly rows: readonly number[]
  readonly count: number
  readonly reason: string
}

/** Turns what a chain could not pass on into dead letters: the bytes as they rest in the WAL, before its processors. */
export class LetterWriter {
  readonly #letters: DeadLetters
  readonly #cursor: string
  readonly #exporter: string
  readonly #connector: string

  constructor(letters: DeadLetters, names: { cursor: string; exporter: string; connector: string }) {
    this.#letters = letters
    this.#cursor = names.cursor
    this.#exporter = names.exporter
    this.#connector = names.connector
  }

  /** What reading and the processors refused; the same at every repeat of the range. */
  async refused(range: PreparedRange, attempts: number): Promise<void> {
    const { refused, raw } = range
    if (refused.length === 0 && raw.damaged.length === 0 && raw.missing.length === 0) return
    await this.#letters.put([
      ...raw.missing.map((missing) => this.#damaged(placeOf(missing), attempts)),
      ...raw.damaged.map((damaged) => this.#damaged(damaged, attempts)),
      ...refused.map((one) => this.#refused(one, attempts)),
    ])
  }

  /** A letter per span; where only their number is known, one letter with all that it may be. */
  async rejected(rejections: readonly RejectedRows[], attempts: number): Promise<void> {
    const letters = rejections.flatMap((rejection) => {
      const { batch, rows, count, reason } = rejection
      if (count < rows.length) return [this.#some(rejection, attempts)]
      return rows.map((row) => {
        const where = memberOf(batch.members, row)
        return this.#span(where.member, where.row, this.#exporter, reason, attempts)
      })
    })
    await this.#letters.put(letters)
  }

  #some({ batch, rows, count, reason }: RejectedRows, attempts: number): NewDeadLetter {
    const first = memberOf(batch.members, rows[0] ?? 0)
    const byMember = new Map<SourceMember, number[]>()
    for (const each of rows) {
      const { member, row } = memberOf(batch.members, each)
      const within = byMember.get(member)
      if (within === undefined) byMember.set(member, [row])
      else within.push(row)
    }
    const parts = Array.from(byMember, ([member, within]) =>
      decodeBatch(member.member.bytes, metaOf(member)).select(within).encode(),
    )
    return {
      ...this.#common(first.member, attempts),
      component: this.#exporter,
      reason,
      row: first.member.row + first.row,
      spans: count,
      format: 'otlp',
      body: Buffer.concat(parts),
    }
  }

  #refused({ member, row, reason }: Refused, attempts: number): NewDeadLetter {
    if (row !== undefined) return this.#span(member, row, 'processors', reason, attempts)
    return {
      ...this.#common(member, attempts),
      component: this.#connector,
      reason,
      row: member.row,
      spans: member.member.spans,
      format: 'raw',
      body: member.member.bytes,
    }
  }

  #span(
    member: SourceMember,
    row: number,
    component: string,
    reason: string,
    attempts: number,
  ): NewDeadLetter {
    const body = decodeBatch(member.member.bytes, metaOf(member)).select([row]).encode()
    const common = this.#common(member, attempts)
    return { ...common, component, reason, row: member.row + row, spans: 1, format: 'otlp', body }
  }

  #common({ member, tenant, seq }: SourceMember, attempts: number) {
    const { project, principal, source, receivedAtMs } = member
    return { cursor: this.#cursor, tenant, project, principal, source, receivedAtMs, seq, attempts }
  }

  #damaged({ seq, tenant, reason, bytes }: Damaged, attempts: number): NewDeadLetter {
    return {
      cursor: this.#cursor,
      component: this.#connector,
      reason,
      tenant,
      project: '',
      principal: '',
      source: '',
      receivedAtMs: 0,
      seq,
      row: 0,
      spans: 0,
      attempts,
      format: 'raw',
      body: bytes,
    }
  }
}

/** Nothing is left of them but their place. */
function placeOf({ from, to }: Missing): Damaged {
  const which = from === to ? `message ${from} is` : `messages ${from} to ${to} are`
  const reason = `WAL ${which} missing: lost by the log (damaged files, a disk put back), or deleted in it by somebody`
  return { seq: from, tenant: '', reason, bytes: new Uint8Array() }
}
