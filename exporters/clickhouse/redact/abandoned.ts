import { quoteName } from '../../../proto/clickhouse/native.ts'
import { drop, MOVING, prefixOf, Replacement, type RedactPlace } from './replacement.ts'

/** The fence of who has a turn at the table, which keeps others from it. */
export const UNFENCED = (): Promise<void> => Promise.resolve()

/** On a server another daemon, with another state store, may be using its own. */
const ABANDONED_SECONDS = 3600

/** Whether a redaction or a replay that was interrupted has taken out rows, and not put in the new ones. */
export async function hasAbandoned(place: RedactPlace): Promise<boolean> {
  return (await moving(place)).length > 0
}

/** Puts in the new rows of whoever did not come to it. Nobody else may be rewriting the table. */
export async function putBackAbandoned(
  place: RedactPlace,
  fence: () => Promise<void>,
  kept?: string,
): Promise<void> {
  for (const name of await moving(place)) {
    if (kept !== undefined && name.startsWith(kept)) continue
    await recover(place, name.slice(0, -MOVING.length), fence)
  }
}

/**
 * As `putBackAbandoned`; and removes what nobody came back to: its run was cancelled, failed, or was late. A run that goes on
 * soon finds what it has staged.
 */
export async function tidyAbandoned(
  place: RedactPlace,
  kept: string | undefined,
  fence: () => Promise<void>,
): Promise<void> {
  await putBackAbandoned(place, fence, kept)
  for (const name of await tablesOf(place, ABANDONED_SECONDS)) {
    if (kept === undefined || !name.startsWith(kept)) await drop(place, name)
  }
}

/** After a kill, what was begun under this name: puts in what is out of the table, and forgets what was only made ready. */
export async function recover(place: RedactPlace, name: string, fence: () => Promise<void>): Promise<void> {
  const replacement = new Replacement(place, name)
  if ((await movingTables(place, 0)).includes(`${name}${MOVING}`)) await replacement.apply(fence)
  await replacement.remove()
}

/** Whether such rows are out of the table: who took them out puts new ones in their place, so they are not missing. */
export async function areMoving(place: Searched, where: string): Promise<boolean> {
  for (const name of await movingTables(place, 0)) {
    const table = `${quoteName(place.target.database)}.${quoteName(name)}`
    const sql = `SELECT 1 FROM ${table} WHERE ${where} LIMIT 1`
    if ((await place.connection.rows(sql, {}, place.ending)).data.length > 0) return true
  }
  return false
}

function moving(place: RedactPlace): Promise<readonly string[]> {
  return movingTables(place, place.isShared ? ABANDONED_SECONDS : 0)
}

/** Whose rows may be nowhere else, and that nobody has changed for so many seconds. */
async function movingTables(place: Searched, age: number): Promise<readonly string[]> {
  return (await tablesOf(place, age)).filter((name) => name.endsWith(MOVING))
}

type Searched = Pick<RedactPlace, 'connection' | 'target' | 'ending'>

async function tablesOf({ connection, target, ending }: Searched, age: number): Promise<readonly string[]> {
  const { data } = await connection.rows(
    'SELECT name FROM system.tables WHERE database = {database:String} AND startsWith(name, {prefix:String}) AND metadata_modification_time <= now() - {age:UInt32} ORDER BY name',
    { database: target.database, prefix: prefixOf(target), age },
    ending,
  )
  return data.map(([name]) => String(name))
}
