import type { Subject } from './finding.ts'

/** The stretches of a text that hold enough digits for a number that means somebody. */
export interface Window {
  readonly start: number
  readonly end: number
  readonly digits: number
}

const FEWEST = 6
/** Letters that may belong to a number before and after its digits: `X-1234567`, ` ext. 12`. */
const BEFORE = 16
const AFTER = 14

/** Runs of digits and separators with at least six digits, in order. Linear. */
export function digitWindows(text: string): Window[] {
  const windows: Window[] = []
  let start = -1
  let last = -1
  let digits = 0
  for (let i = 0; i <= text.length; i++) {
    const code = i < text.length ? text.charCodeAt(i) : 0
    if (code >= 48 && code <= 57) {
      if (start < 0) start = i
      last = i
      digits++
    } else if (start >= 0 && !isSeparator(code)) {
      if (digits >= FEWEST) windows.push({ start, end: last + 1, digits })
      start = -1
      digits = 0
    }
  }
  return windows
}

/** Space, ( ) + - . / and the dashes and spaces of typography. */
function isSeparator(code: number): boolean {
  return (
    code === 32 ||
    code === 40 ||
    code === 41 ||
    code === 43 ||
    (code >= 45 && code <= 47) ||
    code === 0xa0 ||
    (code >= 0x2010 && code <= 0x2015)
  )
}

export interface Match {
  readonly text: string
  readonly index: number
}

/** Matches of a global pattern in the windows of enough digits, and a little around them. */
export function matchesIn(subject: Subject, pattern: RegExp, fewest: number): readonly Match[] {
  const { text } = subject
  const matches: Match[] = []
  let from = 0
  for (const window of subject.windows) {
    if (window.digits < fewest) continue
    const start = Math.max(from, window.start - BEFORE)
    const end = Math.min(text.length, window.end + AFTER)
    for (const match of text.slice(start, end).matchAll(pattern)) {
      const index = start + match.index
      if (index < from) continue
      matches.push({ text: match[0], index })
    }
    from = window.end
  }
  return matches
}
