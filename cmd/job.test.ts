import { afterEach, beforeEach, expect, it } from 'vitest'
import { z } from 'zod'
import { ApiExtension } from '../extensions/api/api.ts'
import { config } from '../extensions/api/config.ts'
import { retry } from '../pipeline/fault.ts'
import { runVerb } from '../test/support/api-on-chdb.ts'
import { extensionContext, stubHost, type ExtensionContext } from '../test/support/extension-context.ts'
import { entryOf, gate, JobRig } from '../test/support/job-rig.ts'
import { verb } from './job.ts'

/** The verb through the real API on a daemon's scheduler. */

const held = gate()
const entry = entryOf(
  { every: '1h' },
  z.strictObject({ tenant: z.string(), bad: z.boolean().default(false) }),
)
const shown: string[] = []
let rig: JobRig
let api: ApiExtension
let context: ExtensionContext

beforeEach(async () => {
  rig = await new JobRig().open()
  context = extensionContext('api')
  const host = stubHost({ jobDesk: () => rig.desk(entry) })
  api = new ApiExtension(config.parse({ endpoint: '127.0.0.1:0' }), context.context, host)
  await api.start()
})

afterEach(async () => {
  await api.stop(AbortSignal.timeout(1000))
  await context.close()
  await rig.close()
})

function weir(...args: readonly string[]) {
  const io = { progress: (text: string) => void shown.push(text) }
  return runVerb(verb, [...args, '--endpoint', `http://${api.address}`], io)
}

it('runs a job, tells how far it is, and what came of it', async () => {
  let tries = 0
  await rig.daemon(entry, async (task) => {
    const { tenant, bad } = task.params as { tenant: string; bad: boolean }
    if (bad) throw new Error('no such\u001b[2J tenant')
    task.progress(25, 100, 'rows')
    tries += 1
    if (tries === 1) throw retry('EXPORT_UNAVAILABLE', 'the store is down')
    if (tries === 2) await held.passed
    return { counts: { rows: 100 }, notes: [`${tenant} is tidy`] }
  })
  const run = weir('run', 'tidy', '--arg', 'tenant=acme')
  await expect.poll(async () => (await weir('ls')).out).toContain('run 1 25 rows')
  await expect.poll(() => shown.at(-1)).toMatch(/^run 1 running \[█{6}░{18}\] 25 % {2}25 of 100 rows$/)
  held.open()
  const { code, out } = await run
  expect(shown.at(-1)).toBe('')
  expect(code).toBe(0)
  expect(out).toContain('rows')
  expect(out).toContain('acme is tidy\nrun 1: success\n')

  const bad = await weir('run', 'tidy', '--arg', 'tenant=acme', '--arg', 'bad=true', '--json')
  expect(bad.code).toBe(1)
  expect(JSON.parse(bad.out)).toMatchObject({ run: '2', status: 'failure', by: 'local' })
  expect(bad.out).not.toContain('\u001b')
  const dry = await weir('run', 'tidy', '--arg', 'tenant=acme', '--dry-run')
  expect(dry.out).toContain('run 3: success (dry run: nothing was changed)')

  const history = await weir('history', 'tidy', '--json')
  const { runs } = JSON.parse(history.out) as { runs: { run: string; status: string }[] }
  expect(runs.map(({ run: id, status }) => `${id} ${status}`)).toEqual([
    '3 success',
    '2 failure',
    '1 success',
  ])
  expect((await weir('history', 'tidy', '--limit', '1')).out).toContain('rows=100')
  const shownOne = await weir('show', 'tidy', '2')
  expect(shownOne.code).toBe(1)
  expect(shownOne.out).toContain('no such')
  const [job] = (JSON.parse((await weir('ls', '--json')).out) as { jobs: object[] }).jobs
  expect(job).toMatchObject({ job: 'tidy', schedule: 'every 3600s', last: { run: '3', outcome: 'success' } })
})

it('leaves without waiting, cancels, and says what is wrong', async () => {
  const id = await weir('run', 'tidy', '--arg', 'tenant=acme', '--no-wait')
  expect(id.out).toBe('1\n')
  expect((await weir('cancel', 'tidy', '1')).code).toBe(0)
  expect((await weir('show', 'tidy', '1', '--json')).out).toContain('cancelled')
  await expect(weir('run', 'tidy', '--arg', 'tenat=acme')).rejects.toMatchObject({ code: 'REQUEST_INVALID' })
  await expect(weir('run', 'other')).rejects.toMatchObject({ code: 'NOT_FOUND' })
  await expect(weir('run')).rejects.toThrow('say ls')
  await expect(weir('run', 'tidy', '--arg', 'tenant')).rejects.toThrow('KEY=VALUE')
})
