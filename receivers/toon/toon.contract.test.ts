import { receiverContract } from '../../test/contract/receiver.ts'
import { openState, T } from '../../test/support/toon-rig.ts'
import { toon } from './factory.ts'
import type { ToonReceiver } from './toon.ts'

const toonMaker = await toon.load()

const JSON_TYPE = { 'content-type': 'application/json' }

receiverContract('toon', {
  create: (context, next) => toonMaker.create(toon.config.parse({ endpoint: '127.0.0.1:0' }), context, next),
  openState,
  idOf: (batch) => batch.name(0).replace(/^error /, ''),
  sender: (receiver) => {
    const url = `http://${(receiver as ToonReceiver).address}/v1/runs`
    const body = JSON.stringify({ run_id: 'kit', agent_id: 'kit' })
    const started = fetch(url, { method: 'POST', headers: JSON_TYPE, body }).then((answer) => answer.text())
    return {
      async send(id) {
        await started
        const event = { t: T, actor: 'agent', type: 'error', payload: { error_type: id } }
        const headers = { ...JSON_TYPE, 'idempotency-key': id }
        const answer = await fetch(`${url}/kit/events`, {
          method: 'POST',
          headers,
          body: JSON.stringify(event),
        })
        await answer.text()
        if (answer.status === 503 || answer.status === 429) return 'retry'
        return answer.status === 202 ? 'accepted' : 'rejected'
      },
      close: () => {},
    }
  },
})
