// A store process in miniature for the supervisor's tests: speaks the channel's protocol and does as its config says.
process.on('disconnect', () => process.exit(0))
function answer({ id, method, params }) {
  if (method === 'start' && params.raw.start === 'exit') process.exit(3)
  const refused = params?.raw?.refuse
  const fault = { code: 'START_FAILED', message: String(refused), verdict: { do: 'reject' } }
  if (refused !== undefined) {
    process.send({ id, fault })
    return
  }
  if (method === 'query' && params.sql === 'pid') {
    process.send({ id, value: process.pid })
    return
  }
  if (method === 'query' && params.sql === 'die') process.kill(process.pid, 'SIGKILL')
  if (method === 'query' && params.sql === 'hang') for (;;);
  if (method === 'stop') {
    process.send({ id, value: null }, () => process.disconnect())
    return
  }
  if (id !== undefined) process.send({ id, value: method === 'reload' ? { changed: ['x'] } : {} })
}

process.on('message', answer)
