import { Fault, type FaultCode } from '../fault.ts'

/** What is wrong with one event of a request. */
export interface EventError {
  /** Place in the request, from 0. */
  readonly index: number
  /** Dotted path in the event, e.g. `payload.status`; '' is the event itself. */
  readonly field: string
  readonly message: string
}

/** A Fault that names the events at fault; a request is refused whole. */
export class EventFault extends Fault {
  readonly errors: readonly EventError[]

  constructor(code: FaultCode, errors: readonly EventError[], more = 0) {
    super(code, summary(errors, more), { do: 'reject' })
    this.errors = errors
  }
}

function summary(errors: readonly EventError[], more: number): string {
  const [first] = errors
  if (first === undefined) return 'no event is at fault'
  const others = errors.length - 1 + more
  const at = first.field === '' ? '' : `${first.field}: `
  return `event ${first.index}: ${at}${first.message}${others > 0 ? ` (and ${others} more)` : ''}`
}
