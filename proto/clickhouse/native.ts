import type { NativeColumn } from './columns.ts'
import { Sink } from './sink.ts'

/**
 * One Native block: LEB128 column count, LEB128 row count, then per column its name, its type (both as strings) and
 * its body. The parts are views into the columns: write them out before a column is filled again.
 */
export function nativeBlock(columns: readonly NativeColumn[], rows: number): Uint8Array[] {
  const head = new Sink()
  head.varint(columns.length)
  head.varint(rows)
  const parts: Uint8Array[] = [head.view()]
  for (const column of columns) {
    const title = new Sink(column.name.length + column.type.length + 16)
    title.text(column.name)
    title.text(column.type)
    parts.push(title.view())
    for (const part of column.parts()) if (part.length > 0) parts.push(part)
  }
  return parts
}

/** The columns as a table function's structure: `` `Name` Type, … ``. */
export function nativeStructure(columns: readonly NativeColumn[]): string {
  return columns.map((column) => `${quoteName(column.name)} ${column.type}`).join(', ')
}

/** A ClickHouse identifier, safe for any text. */
export function quoteName(name: string): string {
  return `\`${name.replace(/[`\\]/g, (char) => `\\${char}`)}\``
}

/** A ClickHouse string literal, safe for any text. For names and tokens of ours: data never stands in SQL text (design law 6). */
export function quoteText(text: string): string {
  return `'${text.replace(/['\\\0]/g, (char) => (char === '\0' ? '\\0' : `\\${char}`))}'`
}
