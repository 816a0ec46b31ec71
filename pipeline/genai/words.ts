import { hashOf, isSame, viewOf } from '../../proto/short-bytes.ts'
import { SLOT, SLOTS } from './fields.ts'
import { isLeaf, operationOf } from './kind.ts'
import { providerName, providerOfModel } from './provider.ts'
import type { Scan } from './scan.ts'
import type { Shape } from './shape.ts'

/** What a span's words say, its counts and ids left aside. '' where they say nothing. */
export interface Words {
  readonly operation: string
  /** The span is one model call of its own. */
  readonly leaf: boolean
  readonly toolName: string
  readonly agentName: string
  readonly provider: string
  readonly requestModel: string
  readonly responseModel: string
  readonly finishReason: string
  readonly serviceTier: string
  /** Of OpenAI's regional endpoint; undefined: none of them. */
  readonly endpoint: string | undefined
  /** As named by the span, in lower case. */
  readonly geo: string | undefined
}

/** Longer words hardly ever repeat. */
const LONGEST = 64
const SETS = 512

interface Known {
  readonly shape: Shape
  readonly sizes: Int32Array
  /** The words' bytes, one after another. */
  readonly bytes: DataView
  readonly words: Words
}

/** Two per hash, the newest stay: spans that say what no other says cost a little more, and no memory. */
const known = Array<Known | undefined>(SETS * 2).fill(undefined)

/** Offset and length of each word of the span. */
const places = new Int32Array(SLOTS * 2)

/**
 * The words of the span that was read last. Few combinations come again and again: one that was met before is known by
 * the span's shape and the words' bytes, and nothing is decided again.
 */
export function wordsOf(scan: Scan): Words {
  const bytes = scan.words(places)
  if (bytes === undefined) return decide(scan)
  const { shape } = scan
  const view = viewOf(bytes)
  const end = shape.words.length * 2
  let hash = shape.hash
  for (let at = 0; at < end; at += 2) {
    const size = places[at + 1]!
    if (size > LONGEST) return decide(scan)
    hash = Math.imul(hash, 31) + hashOf(view, places[at]!, size)
  }
  const first = ((hash ^ (hash >>> 16)) & (SETS - 1)) * 2
  const newest = known[first]
  if (newest !== undefined && isOf(newest, shape, view)) return newest.words
  const older = known[first + 1]
  if (older !== undefined && isOf(older, shape, view)) return older.words
  const words = decide(scan)
  known[first + 1] = newest
  known[first] = remembered(shape, bytes, words)
  return words
}

/** Whether the words at `places` are those of `one`. */
function isOf(one: Known, shape: Shape, view: DataView): boolean {
  if (one.shape !== shape) return false
  const { sizes } = one
  let at = 0
  for (let i = 0; i < sizes.length; i++) {
    const size = sizes[i]!
    if (places[2 * i + 1] !== size || !isSame(one.bytes, at, view, places[2 * i]!, size)) return false
    at += size
  }
  return true
}

function remembered(shape: Shape, bytes: Buffer, words: Words): Known {
  const sizes = Int32Array.from(shape.words, (_, i) => places[2 * i + 1]!)
  const parts = Array.from(sizes, (size, i) => bytes.subarray(places[2 * i], places[2 * i]! + size))
  const copy = Buffer.concat(parts)
  return { shape, sizes, bytes: new DataView(copy.buffer, copy.byteOffset, copy.length), words }
}

/** From presence of any field, and from values of words only (`IS_WORD`): nothing else is looked at when spans are told apart. */
function decide(scan: Scan): Words {
  const operation = operationOf(scan)
  const leaf = operation !== '' && isLeaf(scan, operation)
  const requestModel = operation === '' ? '' : scan.text(SLOT.requestModel) || genkitModel(scan)
  const responseModel = operation === '' ? '' : scan.text(SLOT.responseModel)
  return {
    operation,
    leaf,
    toolName: toolName(scan, operation),
    agentName: agentName(scan, operation),
    provider: operation === '' ? '' : providerOf(scan, responseModel, requestModel),
    requestModel,
    responseModel: leaf && responseModel === '' ? requestModel : responseModel,
    finishReason: leaf ? firstReason(scan.text(SLOT.finishReason)) : '',
    serviceTier: leaf ? tierOf(scan) : '',
    endpoint: scan.has(SLOT.server)
      ? /^(us|eu)\.api\.openai\.com$/.exec(scan.text(SLOT.server))?.[1]
      : undefined,
    geo: scan.has(SLOT.geo) ? scan.text(SLOT.geo).toLowerCase() : undefined,
  }
}

function agentName(scan: Scan, operation: string): string {
  const name = scan.text(SLOT.agent)
  if (name !== '') return name
  return operation === 'invoke_agent' ? scan.text(SLOT.entityName) : ''
}

function toolName(scan: Scan, operation: string): string {
  const name = scan.text(SLOT.tool)
  if (name !== '') return name
  return operation === 'execute_tool' ? scan.text(SLOT.entityName) : ''
}

/** Genkit writes `provider/model` into the action's name. */
function genkitModel(scan: Scan): string {
  return scan.has(SLOT.genkitSubtype) && scan.text(SLOT.genkitSubtype) === 'model'
    ? scan.text(SLOT.genkitName)
    : ''
}

function providerOf(scan: Scan, responseModel: string, requestModel: string): string {
  const named = scan.has(SLOT.provider) ? providerName(scan.text(SLOT.provider)) : ''
  if (named !== '') return named
  const byResponse = providerOfModel(responseModel)
  return byResponse !== '' ? byResponse : providerOfModel(requestModel)
}

/** The first of a list, however the list came: an array, its JSON, or plain text. */
function firstReason(text: string): string {
  if (!text.startsWith('[')) return text
  try {
    const list: unknown = JSON.parse(text)
    const head: unknown = Array.isArray(list) ? list[0] : undefined
    return typeof head === 'string' ? head : ''
  } catch {
    return text
  }
}

/** standard, batch, flex, priority, …; '' when the words do not say. */
function tierOf(scan: Scan): string {
  if (scan.has(SLOT.batch) && scan.text(SLOT.batch) === 'true') return 'batch'
  return tierName(scan.text(SLOT.serviceTier))
}

export function tierName(raw: string): string {
  const tier = raw.toLowerCase()
  return tier === 'auto' || tier === 'default' || tier === 'on_demand' ? 'standard' : tier
}
