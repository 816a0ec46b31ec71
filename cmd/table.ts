import { safeText } from '../pipeline/telemetry/safe-text.ts'

export interface Column {
  readonly title: string
  readonly right?: boolean
}

const GAP = '  '
const MAX_CELL = 72

/** Aligned text. Data cannot move the cursor or break a line: control characters are written out. */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const cells = rows.map((row) => columns.map((_, index) => clip(safeText(row[index] ?? ''))))
  const titles = columns.map((column) => safeText(column.title))
  const widths = titles.map((title, index) =>
    Math.max(displayWidth(title), ...cells.map((row) => displayWidth(row[index] ?? ''))),
  )
  const line = (row: readonly string[]): string =>
    row
      .map((cell, index) => pad(cell, widths[index] ?? 0, columns[index]?.right === true))
      .join(GAP)
      .trimEnd()
  const rule = widths.map((width) => '─'.repeat(width)).join(GAP)
  return [line(titles), rule, ...cells.map(line)].map((text) => `${text}\n`).join('')
}

/** A value of an answer as a cell: what ClickHouse would print, near enough. */
export function cellOf(value: unknown): string {
  if (value === null || value === undefined) return 'NULL'
  if (typeof value === 'string') return value
  return JSON.stringify(value)
}

export function isNumeric(type: string): boolean {
  return /^(?:Nullable\()?(?:U?Int|Float|Decimal|BFloat)/.test(type)
}

export function clip(text: string, max = MAX_CELL): string {
  if (displayWidth(text) <= max) return text
  let width = 0
  let kept = ''
  for (const char of text) {
    width += charWidth(char)
    if (width > max - 1) break
    kept += char
  }
  return `${kept}…`
}

/** Cells of a terminal: East Asian wide characters and emoji take two, combining marks none. */
export function displayWidth(text: string): number {
  // oxlint-disable-next-line no-control-regex -- plain ASCII is by far the common case
  if (/^[\u0000-\u007f]*$/.test(text)) return text.length
  let width = 0
  for (const char of text) width += charWidth(char)
  return width
}

const ZERO = /^[\p{Mn}\p{Me}\p{Cf}]$/u
const WIDE =
  /^[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1f64f}\u{1f900}-\u{1f9ff}\u{20000}-\u{3fffd}]$/u

function charWidth(char: string): number {
  if (ZERO.test(char)) return 0
  return WIDE.test(char) ? 2 : 1
}

export function pad(text: string, width: number, right = false): string {
  const space = ' '.repeat(Math.max(0, width - displayWidth(text)))
  return right ? `${space}${text}` : `${text}${space}`
}

/** `1 call`, `2 calls`. */
export function counted(count: number, one: string): string {
  return `${count} ${one}${count === 1 ? '' : 's'}`
}
