import { setFlagsFromString } from 'node:v8'

/*
 * V8 has a linear-time engine (https://v8.dev/blog/non-backtracking-regexp), which takes over here from the backtracking one
 * when that has backtracked too often (50,000 times).
 */
setFlagsFromString('--enable-experimental-regexp-engine')
setFlagsFromString('--enable-experimental-regexp-engine-on-excessive-backtracks')

/**
 * Whether a pattern can be handed to code that runs it as an ordinary `RegExp`, over any text, in linear time: it is one,
 * and without look-around, back-references and counts over 100, which the linear engine cannot run.
 */
export function isLinear(pattern: string): boolean {
  try {
    const flags: string = 'l'
    return new RegExp(pattern, flags) instanceof RegExp
  } catch {
    return false
  }
}
