import { reject, type Fault } from '../../../pipeline/fault.ts'

/** Why a query may not run, in words for its author. */
export function refuse(why: string): Fault {
  return reject('QUERY_REFUSED', `the query is refused: ${why}`)
}
