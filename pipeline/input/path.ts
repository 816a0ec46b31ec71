/** From the top of a value down: keys and places in lists. */
export type Path = readonly (string | number)[]

/** `a.b["c.d"][0]`: how a path is printed. Ids such as `traces/ingest` stay bare. */
export function pathText(path: Path): string {
  let text = ''
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`
    else if (/^[^\s."[\]]+$/.test(part)) text += text === '' ? part : `.${part}`
    else text += `[${JSON.stringify(part)}]`
  }
  return text
}
