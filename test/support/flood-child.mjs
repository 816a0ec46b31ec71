// Sends the same request over and over on many connections, whatever the answer; a process of its own, so that it takes
// no time from who measures. argv: port, path, key, connections, spans' bytes as base64. On 'stop' it tells what came.
import { Agent, request } from 'node:http'

const [port, path, key, connections, base64] = process.argv.slice(2)
const body = Buffer.from(base64, 'base64')
const agent = new Agent({ keepAlive: true, maxSockets: Number(connections) })
const answers = {}
const ending = new AbortController()

function once() {
  return new Promise((resolve) => {
    const headers = {
      'content-type': 'application/x-protobuf',
      'content-length': body.length,
      authorization: `Bearer ${key}`,
    }
    const call = request({ host: '127.0.0.1', port, path, method: 'POST', agent, headers }, (response) => {
      response.resume().on('end', () => {
        answers[response.statusCode] = (answers[response.statusCode] ?? 0) + 1
        resolve()
      })
    })
    call.on('error', () => {
      answers.failed = (answers.failed ?? 0) + 1
      setTimeout(resolve, 10)
    })
    call.end(body)
  })
}

async function go() {
  while (!ending.signal.aborted) await once()
}

process.once('message', () => {
  ending.abort()
  void Promise.all(running).then(() => process.send(answers, () => process.exit(0)))
})
process.once('disconnect', () => process.exit(0))
const running = Array.from({ length: Number(connections) }, go)
process.send('going')
