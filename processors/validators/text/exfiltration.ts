/** How an image or link in Markdown or HTML carries data out: a client that shows it sends them to its host. */
export interface Exfiltration {
  readonly by: 'image' | 'link'
  /** Lower case; '' for one that cannot be told. */
  readonly host: string
}

const URL_LIMIT = 4096
const OPENS = /!?\[|<img\b/i
/** `](url` and `<img … src="url`, with a bound on what may stand between. */
const PLACES =
  /(!\[[^\][]{0,200}|\[[^\][]{0,200})\]\(\s{0,4}<?(https?:\/\/[^\s)>"']{1,4096})|<img\b[^<>]{0,500}?\bsrc\s{0,4}=\s{0,4}["']?(https?:\/\/[^\s>"']{1,4096})|^ {0,3}(\[)[^\][]{1,100}\]:\s{0,4}(https?:\/\/\S{1,4096})/gim

/**
 * The first image whose address holds prose, an address of mail, encoded text, or a place to put data in; or the first
 * link that holds encoded text (search links hold prose). `trusted`: hosts, and with them what is below.
 */
export function exfiltration(text: string, trusted: readonly string[]): Exfiltration | undefined {
  if (!OPENS.test(text)) return undefined
  for (const match of text.matchAll(PLACES)) {
    const by = match[1]?.startsWith('!') === true || match[3] !== undefined ? 'image' : 'link'
    const url = (match[2] ?? match[3] ?? match[5]!).slice(0, URL_LIMIT)
    const host = hostOf(url)
    if (trusted.some((name) => host === name || host.endsWith(`.${name}`))) continue
    const values = valuesOf(url)
    if (values.some((value) => isEncodedText(value))) return { by, host }
    if (by === 'image' && values.some((value) => isProse(value) || isPlace(value))) return { by, host }
  }
  return undefined
}

/** As a browser reads it, whatever stands before an `@` or behind a `\\`; '' for what none would open. */
function hostOf(url: string): string {
  try {
    return new URL(url).hostname
  } catch {
    return ''
  }
}

/** Decoded parts of the path, values of the query, and the fragment. */
function valuesOf(url: string): string[] {
  const rest = url.replace(/^https?:\/\/[^/?#]*/i, '')
  return rest
    .split(/[/?&#;]|(?<=[?&][^=&]{0,64})=/)
    .map(decoded)
    .filter(Boolean)
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part.replaceAll('+', ' '))
  } catch {
    return part
  }
}

/** Four words, or an address of mail. */
function isProse(value: string): boolean {
  return (
    (value.length >= 20 && value.trim().split(/\s+/).length >= 4) ||
    /^[\w.+-]{1,64}@[\w-]{1,63}\.[\w.-]{2,63}$/.test(value)
  )
}

/** `{data}`, `[CONVERSATION]`, `<secret>`, `$TOKEN`: to be filled in by who shows it. */
function isPlace(value: string): boolean {
  return /^(?:\{[^{}]{1,80}\}|\{\{[^{}]{1,80}\}\}|\[[^\][]{1,80}\]?|<[^<>]{1,80}>?|\$\{?[A-Z_]{3,40}\}?)$/.test(
    value,
  )
}

const SHORTEST = 16

/** Base64 or hexadecimal of text: words with spaces between. */
function isEncodedText(value: string): boolean {
  if (value.length < SHORTEST || !/^[A-Za-z0-9+/_-]+={0,2}$/.test(value)) return false
  const bytes = Buffer.from(value, /^(?:[0-9a-f]{2})+$/i.test(value) ? 'hex' : 'base64')
  if (bytes.length < SHORTEST * 0.7) return false
  const isPlain = bytes.every((byte) => (byte >= 32 && byte < 127) || byte === 10 || byte === 9)
  return isPlain && /[\s:@={]/.test(bytes.toString('latin1'))
}
