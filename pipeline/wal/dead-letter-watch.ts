import { stateKey, type StateStore } from '../state/state.ts'
import type { DeadLetter } from './dead-letter.ts'

/** Dead letters of a connector as they are written, by any process; not the ones that are written again. */
export async function* newDeadLetters(
  state: StateStore,
  connector: string,
  signal: AbortSignal,
): AsyncGenerator<Pick<DeadLetter, 'tenant' | 'spans'>> {
  for await (const { value } of state.watch(stateKey('dead', connector, 'info'), signal)) {
    if (value === undefined) continue
    const letter = JSON.parse(Buffer.from(value).toString()) as DeadLetter
    if (letter.firstMs === letter.lastMs) yield letter
  }
}
