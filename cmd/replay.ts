import { PIPELINE_HELP, run as replayPipeline } from './replay/pipeline.ts'
import { run as replayRun, RUN_HELP } from './replay/run.ts'
import { UsageError, type Io, type Verb } from './verb.ts'

export const verb: Verb = {
  name: 'replay',
  summary: 'Make what was recorded happen again: a run, or a delivery.',
  help: `${RUN_HELP}\n${PIPELINE_HELP}`,
  helps: { run: RUN_HELP, pipeline: PIPELINE_HELP },
  run,
}

const WHAT: Readonly<Record<string, (argv: readonly string[], io: Io) => Promise<number>>> = {
  run: replayRun,
  pipeline: replayPipeline,
}

async function run(argv: readonly string[], io: Io): Promise<number> {
  const [what = '', ...rest] = argv
  const act = WHAT[what]
  if (act === undefined) throw new UsageError(`say what to replay: ${Object.keys(WHAT).join(', ')}`)
  return act(rest, io)
}
