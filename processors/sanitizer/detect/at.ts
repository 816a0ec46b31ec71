import { FEATURE } from './features.ts'
import type { Detector } from './finding.ts'

/** What stands around an `@`: addresses of mail, and credentials in URLs. Each `@` is looked at once, within fixed bounds. */

const LOCAL = /[\p{L}\p{N}._%+'\-!#$&*/=?^`{|}~]/u
const PLAIN_LOCAL = /[A-Za-z0-9._%+'-]/
const DOMAIN = /[\p{L}\p{N}.-]/u
const LONGEST_LOCAL = 64
const LONGEST_DOMAIN = 253

export const email: Detector = {
  type: 'email',
  needs: FEATURE.at,
  find({ text }, found) {
    for (let at = text.indexOf('@'); at >= 0; at = text.indexOf('@', at + 1)) {
      const start = localStart(text, at)
      const end = domainEnd(text, at)
      if (start < at && end > 0 && !isUserInfo(text, start)) found.push({ start, end, type: 'email' })
    }
  },
}

function localStart(text: string, at: number): number {
  if (text[at - 1] === '"') {
    const open = text.lastIndexOf('"', at - 2)
    if (open >= 0 && at - open <= LONGEST_LOCAL && !/[\n\\]/.test(text.slice(open, at))) return open
  }
  let start = at
  while (start > 0 && at - start < LONGEST_LOCAL && isLocal(text, start - 1)) start--
  while (start < at && (text[start] === '.' || text[start] === "'" || text[start] === '-')) start++
  // `\nalice@…` in text that was escaped: the letter belongs to the escape.
  if (text[start - 1] === '\\' && /[nrtbf]/.test(text[start] ?? '') && start + 1 < at) start++
  return start
}

function isLocal(text: string, at: number): boolean {
  return PLAIN_LOCAL.test(text[at]!) || (text.charCodeAt(at) > 127 && LOCAL.test(text[at]!))
}

/** -1 when no domain with a dot and a top level of letters follows. */
function domainEnd(text: string, at: number): number {
  if (text[at + 1] === '[') {
    const close = text.indexOf(']', at)
    return close > 0 && close - at < 50 && /^[\w.:]+$/.test(text.slice(at + 2, close)) ? close + 1 : -1
  }
  let end = at + 1
  while (end < text.length && end - at <= LONGEST_DOMAIN && DOMAIN.test(text[end]!)) end++
  while (end > at + 1 && (text[end - 1] === '.' || text[end - 1] === '-')) end--
  const domain = text.slice(at + 1, end)
  const top = domain.slice(domain.lastIndexOf('.') + 1)
  if (domain.startsWith('.') || domain.includes('..') || !domain.includes('.')) return -1
  if (/^(?:\p{L}{2,24}|xn--[A-Za-z0-9-]{2,30})$/u.test(top)) return end
  // A sentence that goes on without a space: `mail a@b.com.Then`, `a@b.com-Office`.
  const known = /^(?:[A-Za-z0-9-]+\.)+(?:com|org|net|edu|gov|info|io|ai|dev|[a-z]{2})(?![a-z0-9])/.exec(
    domain,
  )
  return known === null ? -1 : at + 1 + known[0].length
}

/** `https://user:pass@host`: not an address. */
function isUserInfo(text: string, start: number): boolean {
  if (text[start - 1] !== ':' && text[start - 1] !== '/') return false
  return text.slice(Math.max(0, start - 200), start).includes('://')
}

const SCHEME = '://'
const LONGEST_USER_INFO = 512
/** Names that everybody has. */
const PUBLIC_USER = /^(?:git|hg|svn|anonymous|oauth2|x-access-token)$/

/** `scheme://user:password@host` → the user info. */
export const urlCredentials: Detector = {
  type: 'url_credentials',
  needs: FEATURE.at,
  find({ text }, found) {
    for (let at = text.indexOf(SCHEME); at >= 0; at = text.indexOf(SCHEME, at + 1)) {
      const start = at + SCHEME.length
      const end = userInfoEnd(text, start)
      if (end < 0) continue
      const info = text.slice(start, end)
      if (isPlaceholder(info.slice(info.indexOf(':') + 1)) || PUBLIC_USER.test(info)) continue
      found.push({ start, end, type: 'url_credentials' })
    }
  },
}

/** The last `@` before the path: passwords are often not escaped. */
function userInfoEnd(text: string, start: number): number {
  const limit = Math.min(text.length, start + LONGEST_USER_INFO)
  let end = -1
  for (let i = start; i < limit; i++) {
    const char = text[i]!
    if (char === '@') end = i
    else if (/[\s/?#"'<>\\`]/.test(char)) break
  }
  return end
}

function isPlaceholder(value: string): boolean {
  return value === '' || /^(?:\$\{?\w+\}?|<[^>]*>|\{\{?[^}]*\}?\}|\*+|\[REDACTED.*)$/.test(value)
}
