import { TOKENS } from '../batch/facts.ts'

/**
 * Token counts of one call before they are made disjoint: `input` holds everything the model read (cached and written
 * parts, audio and images included), `output` everything it wrote (reasoning included).
 */
export interface Usage {
  input: number
  output: number
  cacheRead: number
  /** 5-minute writes, or writes of unknown lifetime. */
  cacheWrite: number
  cacheWrite1h: number
  reasoning: number
  audioInput: number
  imageInput: number
  audioOutput: number
  imageOutput: number
}

export function emptyUsage(): Usage {
  return {
    input: 0,
    output: 0,
    cacheRead: 0,
    cacheWrite: 0,
    cacheWrite1h: 0,
    reasoning: 0,
    audioInput: 0,
    imageInput: 0,
    audioOutput: 0,
    imageOutput: 0,
  }
}

/**
 * Writes the disjoint buckets of `usage` at `at`, in the order of TOKENS. Their sum is `input + output`; none is
 * negative. Details beyond the whole are cut: cached and written tokens first take what there is, then audio and
 * images what remains (audio may itself have been cached), text the rest. True when the cache or reasoning counts
 * had to be cut, which means that the sender's numbers contradict each other.
 */
export function splitUsage(usage: Usage, buckets: Uint32Array, at: number): boolean {
  let rest = usage.input
  const read = Math.min(usage.cacheRead, rest)
  rest -= read
  const write1h = Math.min(usage.cacheWrite1h, rest)
  rest -= write1h
  const write = Math.min(usage.cacheWrite, rest)
  rest -= write
  const audio = Math.min(usage.audioInput, rest)
  rest -= audio
  const image = Math.min(usage.imageInput, rest)
  rest -= image
  buckets[at + AT.InputTokens] = rest
  buckets[at + AT.CacheReadTokens] = read
  buckets[at + AT.CacheWriteTokens] = write
  buckets[at + AT.CacheWrite1hTokens] = write1h
  buckets[at + AT.AudioInputTokens] = audio
  buckets[at + AT.ImageInputTokens] = image
  let out = usage.output
  const reasoning = Math.min(usage.reasoning, out)
  out -= reasoning
  const audioOut = Math.min(usage.audioOutput, out)
  out -= audioOut
  const imageOut = Math.min(usage.imageOutput, out)
  out -= imageOut
  buckets[at + AT.OutputTokens] = out
  buckets[at + AT.ReasoningTokens] = reasoning
  buckets[at + AT.AudioOutputTokens] = audioOut
  buckets[at + AT.ImageOutputTokens] = imageOut
  return (
    read < usage.cacheRead ||
    write < usage.cacheWrite ||
    write1h < usage.cacheWrite1h ||
    reasoning < usage.reasoning
  )
}

/** bucket → its place in a row of `SpanFacts.tokens`. By way of JSON: see SLOT in fields.ts. */
export const AT = JSON.parse(
  JSON.stringify(Object.fromEntries(TOKENS.map((name, index) => [name, index]))),
) as Readonly<Record<(typeof TOKENS)[number], number>>
