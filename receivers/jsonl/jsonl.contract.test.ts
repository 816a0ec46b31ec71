import { appendFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import type { Entry } from '../../pipeline/admission.ts'
import type { Receiver } from '../../pipeline/component.ts'
import { faultOf } from '../../pipeline/fault.ts'
import { EmbeddedState } from '../../pipeline/state/embedded.ts'
import { receiverContract, type Answer } from '../../test/contract/receiver.ts'
import { jsonl } from './factory.ts'

const jsonlMaker = await jsonl.load()

/** A file has no answers: what the pipeline said to each line, a refusal that may pass left out. */
class Told {
  readonly #waiting = new Map<string, (answer: Answer) => void>()

  of(id: string): Promise<Answer> {
    return new Promise((resolve) => this.#waiting.set(id, resolve))
  }

  around(next: Entry): Entry {
    return {
      admit: (head) => next.admit(head),
      consume: async (batch, signal) => {
        const id = batch.name(0)
        try {
          const outcome = await next.consume(batch, signal)
          this.#tell(id, outcome.rejected.length > 0 ? 'partial' : 'accepted')
          return outcome
        } catch (error) {
          if (faultOf(error)?.verdict.do === 'reject') this.#tell(id, 'rejected')
          throw error
        }
      },
    }
  }

  #tell(id: string, answer: Answer): void {
    this.#waiting.get(id)?.(answer)
  }
}

const root = mkdtempSync(join(tmpdir(), 'weir-jsonl-kit-'))
const state = new EmbeddedState(join(root, 'state'))
await state.open()
afterAll(async () => {
  await state.close()
  rmSync(root, { recursive: true, force: true })
})

const places = new WeakMap<Receiver, { readonly directory: string; readonly told: Told }>()
let senders = 0

receiverContract('jsonl', {
  create: (context, next) => {
    const directory = mkdtempSync(join(root, 'logs-'))
    const told = new Told()
    const config = jsonl.config.parse({
      include: [join(directory, '*.jsonl')],
      start_at: 'beginning',
      poll_interval: '2ms',
      format: 'json',
      mapping: { name: 'id' },
      retry_on_failure: { initial_interval: '1ms', max_interval: '5ms' },
    })
    const receiver = jsonlMaker.create(config, { ...context, state }, told.around(next))
    places.set(receiver, { directory, told })
    return receiver
  },
  sender: (receiver) => {
    const { directory, told } = places.get(receiver)!
    const file = join(directory, `${senders++}.jsonl`)
    return {
      send: (id) => {
        const answer = told.of(id)
        appendFileSync(file, `${JSON.stringify({ id })}\n`)
        return answer
      },
      close: () => undefined,
    }
  },
})
