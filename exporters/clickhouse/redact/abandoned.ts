import { drop, MOVING, prefixOf, Replacement, type RedactPlace } from './replacement.ts'

/** On a server another daemon, with another state store, may be using its own. */
const ABANDONED_SECONDS = 3600

/** Whether a redaction that was interrupted has taken out rows, and not put in the new ones. */
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
    const replacement = new Replacement(place, name.slice(0, -MOVING.length))
    await replacement.apply(fence)
    await replacement.remove()
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

function moving(place: RedactPlace): Promise<readonly string[]> {
  return movingTables(place, place.isShared ? ABANDONED_SECONDS : 0)
}

/** Whose rows may be nowhere else, and that nobody has changed for so many seconds. */
export async function movingTables(place: Searched, age: number): Promise<readonly string[]> {
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
