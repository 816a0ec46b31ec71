import { directoryVerb } from './identity/directory-verb.ts'

export const verb = directoryVerb({
  name: 'tenant',
  columns: ['id', 'name', 'tier', 'status', 'limits', 'created'],
  fields: `  --name TEXT        for people
  --tier TIER        free (default), paid or enterprise
  --limit NAME=N     instead of the tier's: events_per_minute, bytes_per_second, in_flight_bytes,
                     spans_per_day, usd_per_day; repeatable, replaces all that were set
  --no-limits        the tier's own again`,
  examples: `  weir tenant create acme --tier paid
  weir tenant set acme --limit events_per_minute=50000 --limit usd_per_day=200
  weir tenant revoke acme`,
})
