import { setFlagsFromString } from 'node:v8'
import { reject } from '../../pipeline/fault.ts'
import type { CustomRule } from './config.ts'
import { FEATURE } from './detect/features.ts'
import type { Detector } from './detect/finding.ts'

/**
 * Custom rules run in V8's own linear-time engine (flag `l`, https://v8.dev/blog/non-backtracking-regexp): what it cannot
 * run (look-around, back-references, long counted repetitions) is refused when the config is read, never run by backtracking.
 */
export function customDetectors(rules: readonly CustomRule[]): Detector[] {
  return rules.map((rule) => {
    const pattern = linear(rule)
    return {
      type: rule.name,
      needs: FEATURE.word,
      find({ text }, found) {
        for (const match of text.matchAll(pattern)) {
          const secret = match[1] ?? match[0]
          if (secret === '') continue
          const start = match.index + match[0].indexOf(secret)
          found.push({ start, end: start + secret.length, type: rule.name })
        }
      },
    }
  })
}

function linear(rule: CustomRule): RegExp {
  setFlagsFromString('--enable-experimental-regexp-engine')
  const pattern = rule.ignore_case ? inBothCases(rule.pattern) : rule.pattern
  try {
    const flags: string = ['l', 'g'].join('')
    return new RegExp(pattern, flags)
  } catch (cause) {
    throw reject(
      'CONFIG_INVALID',
      `sanitizer: the pattern of rule ${rule.name} cannot run in linear time or is none; leave out look-around, back-references and counts over 100`,
      { cause },
    )
  }
}

/** The engine has no flag `i`: letters become classes of both cases, outside escapes. */
function inBothCases(pattern: string): string {
  let inClass = false
  return pattern.replace(/\\.|\(\?<\w+>|[[\]]|[a-zA-Z]-[a-zA-Z]|[a-zA-Z]/gs, (token) => {
    if (token === '[') inClass = true
    else if (token === ']') inClass = false
    else if (/^[a-zA-Z]-[a-zA-Z]$/.test(token) && inClass) return token.toLowerCase() + token.toUpperCase()
    else if (/^[a-zA-Z]/.test(token)) {
      return Array.from(token, (char) => {
        const both = char === '-' ? char : char.toLowerCase() + char.toUpperCase()
        return inClass || char === '-' ? both : `[${both}]`
      }).join('')
    }
    return token
  })
}
