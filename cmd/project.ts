import { directoryVerb } from './identity/directory-verb.ts'

export const verb = directoryVerb({
  name: 'project',
  columns: ['id', 'name', 'status', 'limits', 'created'],
  fields: `  --tenant T         whose it is
  --name TEXT        for people
  --limit NAME=N     below those of its tenant: events_per_minute, bytes_per_second, in_flight_bytes,
                     spans_per_day, usd_per_day; repeatable, replaces all that were set
  --no-limits        only its tenant's`,
  examples: `  weir project create checkout --tenant acme
  weir project ls --tenant acme --json`,
})
