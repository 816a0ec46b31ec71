import { directoryVerb } from './identity/directory-verb.ts'

export const verb = directoryVerb({
  name: 'agent',
  columns: ['id', 'name', 'version', 'capabilities', 'status', 'created'],
  fields: `  --tenant T         whose it is
  --name TEXT        for people
  --version V        of the agent, as you count
  --capability C     what it may do; repeatable, replaces all that were set`,
  examples: `  weir agent create planner --tenant acme --version 1.4.0 --capability search --capability refund
  weir key create --tenant acme --agent planner`,
})
