/** A line that is not what its format wants. The reason never quotes the line: it is kept and logged. */
export class LineError extends Error {
  override readonly name = 'LineError'
}
