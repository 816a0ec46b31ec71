/**
 * Which names mark a value as secret, whatever it looks like: `password`, `client_secret`, `http.request.header.cookie`,
 * `apiKey`. Judged by the words of the name, the last one first, so that `session.id`, `gen_ai.usage.input_tokens`,
 * `token_count` and `secret_name` survive.
 */
const NOUNS = new Set(
  (
    'password passwd passwort pwd passphrase passcode secret secrets token authorization cookie cookies credential ' +
    'credentials creds apikey jwt bearer ssn cvv cvc otp totp dsn csrf xsrf accesskey secretkey privatekey authtoken ' +
    'accesstoken sessiontoken clientsecret'
  ).split(' '),
)
/** Two words of which the last alone says nothing. */
const PAIRS = new Set(
  (
    'api key|access key|private key|secret key|auth key|encryption key|signing key|master key|account key|license key|' +
    'service key|shared key|storage key|deploy key|ssh key|session key|subscription key|functions key|host key|' +
    'card number|card no|cc number|credit card|social security|security number|security code|connection string|' +
    'conn string|db pass|smtp pass|user pass|mysql pass|root pass|admin pass|proxy auth|basic auth'
  ).split('|'),
)
/** Words after a noun that leave it a secret. */
const QUALIFIERS = new Set(
  'value values hash hashed plain plaintext text raw header string b64 base64 encoded encrypted old new current confirm confirmation repeat again data'.split(
    ' ',
  ),
)
/** Words before a noun that make it public, or a mark of place. */
const PUBLIC = new Set(
  'public pub next page previous prev continuation pagination continue sync delta max min num total pad eos bos unk mask cls sep special stop start end first last csrftoken'.split(
    ' ',
  ),
)
const WORD = /[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+/g
/** A name longer than this is not a name. */
const LONGEST = 256
const CACHE = 4096

export class SensitiveKeys {
  readonly #more: ReadonlySet<string>
  readonly #safe: ReadonlySet<string>
  readonly #known = new Map<string, boolean>()

  /** `more` and `safe` in any spelling; `safe` wins. */
  constructor(more: readonly string[] = [], safe: readonly string[] = []) {
    this.#more = new Set(more.map(spelled))
    this.#safe = new Set(safe.map(spelled))
  }

  has(name: string): boolean {
    if (name.length === 0 || name.length > LONGEST) return false
    const known = this.#known.get(name)
    if (known !== undefined) return known
    const verdict = this.#judge(name)
    // Names come from senders: what is remembered of them is bounded.
    if (this.#known.size >= CACHE) this.#known.clear()
    this.#known.set(name, verdict)
    return verdict
  }

  #judge(name: string): boolean {
    const words = wordsOf(name)
    if (matches(this.#safe, name, words)) return false
    return matches(this.#more, name, words) || isSensitive(words)
  }
}

function matches(names: ReadonlySet<string>, name: string, words: readonly string[]): boolean {
  if (names.size === 0) return false
  if (names.has(words.join('_'))) return true
  const last = name.slice(Math.max(name.lastIndexOf('.'), name.lastIndexOf('/')) + 1)
  return last !== name && names.has(spelled(last))
}

function isSensitive(words: readonly string[]): boolean {
  let end = words.length
  while (end > 1 && (QUALIFIERS.has(words[end - 1]!) || /^\d+$/.test(words[end - 1]!))) end--
  if (end === 0) return false
  const last = words[end - 1]!
  const before = words[end - 2] ?? ''
  if (PAIRS.has(`${before} ${last}`)) return true
  return NOUNS.has(last) && !PUBLIC.has(before)
}

function spelled(name: string): string {
  return wordsOf(name).join('_')
}

function wordsOf(name: string): string[] {
  return (name.match(WORD) ?? []).map((word) => word.toLowerCase())
}

const JOINTS = ['', '_', '-', '.', ' '] as const
/** Where the words of a pair meet, for those of which each alone is too common to look for: `card number`, `credit card`. */
const MEETINGS = ['ard n', 'cc n', 'dit c']

/** What the text must have where such a word was found: `card not` is none. Camel case ends a word with a capital. */
const NUMBERED = /[aA][rR][dD][ _.-]?[nN](?:[uU]|[oO](?![a-z]))/
export const CONFIRMED: ReadonlyMap<string, RegExp> = new Map(
  JOINTS.map((joint) => [`ard${joint}n`, NUMBERED]),
)

/** Parts of names, of which every sensitive name has one: for prefilters. `more`: names that config adds. */
export function sensitiveWords(more: readonly string[]): string[] {
  const pairs = [...MEETINGS, ...more.map((name) => wordsOf(name).join(' '))]
  const spellings = pairs.flatMap((pair) => JOINTS.map((joint) => pair.replaceAll(' ', joint)))
  return [
    ...NOUNS,
    'key',
    'pass',
    'auth',
    'social',
    'security',
    'connection',
    'conn_',
    'connstr',
    ...spellings,
  ].filter((word) => word.length >= 3)
}
