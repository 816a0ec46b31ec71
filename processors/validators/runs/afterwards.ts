import type { Context } from '../../../pipeline/factory.ts'
import type { LogWorker, StoredLog } from '../../../pipeline/follower.ts'
import type { ValidatorsConfig } from '../config.ts'
import { Policies } from '../policies.ts'
import type { LoadedValidator } from '../validator.ts'
import { judgesRuns, RunJudge } from './run-judge.ts'

/** Who judges runs out of the log; undefined where no policy has anything to do with runs. */
export function afterwards(
  config: ValidatorsConfig,
  { log, meter }: Pick<Context, 'log' | 'meter'>,
  stored: StoredLog,
  receivers: readonly string[],
  validators: readonly LoadedValidator[],
): LogWorker | undefined {
  const policies = new Policies(config, validators)
  if (![...policies.each()].some(judgesRuns)) return undefined
  const { end_wait, root_wait, idle_timeout } = config.runs
  const times = { endWaitMs: end_wait, rootWaitMs: root_wait, idleMs: idle_timeout }
  return new RunJudge({
    receivers,
    policies,
    times,
    intervalMs: config.runs.batch_interval,
    log,
    meter,
    stored,
  })
}
