import { SLOT } from './fields.ts'
import { isLeaf, operationOf } from './kind.ts'
import { providerName, providerOfModel } from './provider.ts'
import type { Scan } from './scan.ts'

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

/** The words of the span that was read last; decided once for all spans that are alike in what decides them. */
export function wordsOf(scan: Scan): Words {
  const { alike } = scan
  return alike === undefined ? decide(scan) : (alike.words ??= decide(scan))
}

/** From presence of any field, and from values of words only (`IS_WORD`): these tell spans apart (alike.ts). */
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
