/**
 * C0 and C1 controls, DEL, line separators, and the bidirectional controls that make text read as something else.
 * Data in a terminal or a log line must not move the cursor, start a line, or change colours.
 */
// oxlint-disable-next-line no-control-regex -- finding control characters is the purpose
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g

const SHORT: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }

/** `text` on one line, with every control character written out as an escape. */
export function safeText(text: string): string {
  return text.replace(UNSAFE, (char) => SHORT[char] ?? escapeOf(char))
}

/** JSON text whose strings hold no control character either; still JSON with the same value. */
export function safeJson(json: string): string {
  return json.replace(UNSAFE, (char) => `\\u${(char.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`)
}

function escapeOf(char: string): string {
  const code = char.codePointAt(0) ?? 0
  return code < 0x100
    ? `\\x${code.toString(16).padStart(2, '0')}`
    : `\\u${code.toString(16).padStart(4, '0')}`
}
