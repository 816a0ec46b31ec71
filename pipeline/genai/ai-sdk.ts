import { child, countOf, own, parseObject, type JsonObject } from './json.ts'
import { usageOfPayload, type Payload } from './payload.ts'

/** What the Vercel AI SDK keeps of the provider's own answer in `ai.response.providerMetadata`. Absent = undefined. */
export interface AiSdkUsage {
  /** The provider's own input and output counts, where they leave cached tokens or thoughts out. */
  readonly rawInput?: number
  readonly rawOutput?: number
  readonly cacheRead?: number
  /** All writes, the hourly ones included. */
  readonly cacheWrite?: number
  readonly cacheWrite1h?: number
  readonly reasoning?: number
  readonly payload?: Payload
}

export function aiSdkUsage(text: string): AiSdkUsage | undefined {
  const metadata = parseObject(text)
  if (metadata === undefined) return undefined
  return (
    anthropic(child(metadata, 'anthropic')) ??
    bedrock(child(metadata, 'bedrock')) ??
    google(child(metadata, 'google') ?? child(metadata, 'vertex')) ??
    openAi(child(metadata, 'openai') ?? child(metadata, 'azure'))
  )
}

function anthropic(metadata: JsonObject | undefined): AiSdkUsage | undefined {
  if (metadata === undefined) return undefined
  const usage = child(metadata, 'usage')
  const payload = usage === undefined ? undefined : usageOfPayload(usage)
  const rawInput = countOf(usage, 'input_tokens')
  return {
    ...known('rawInput', rawInput),
    ...known(
      'cacheRead',
      countOf(usage, 'cache_read_input_tokens'),
      countOf(metadata, 'cacheReadInputTokens'),
    ),
    ...known(
      'cacheWrite',
      countOf(usage, 'cache_creation_input_tokens'),
      countOf(metadata, 'cacheCreationInputTokens'),
    ),
    ...known('cacheWrite1h', countOf(child(usage, 'cache_creation'), 'ephemeral_1h_input_tokens')),
    ...(payload === undefined ? {} : { payload }),
  }
}

function bedrock(metadata: JsonObject | undefined): AiSdkUsage | undefined {
  const usage = child(metadata, 'usage')
  if (usage === undefined) return undefined
  return {
    ...known('cacheRead', countOf(usage, 'cacheReadInputTokens')),
    ...known('cacheWrite', countOf(usage, 'cacheWriteInputTokens')),
  }
}

function google(metadata: JsonObject | undefined): AiSdkUsage | undefined {
  const usage = child(metadata, 'usageMetadata')
  if (usage === undefined) return undefined
  return {
    ...known('rawOutput', countOf(usage, 'candidatesTokenCount')),
    ...known('cacheRead', countOf(usage, 'cachedContentTokenCount')),
    ...known('reasoning', countOf(usage, 'thoughtsTokenCount')),
  }
}

function openAi(metadata: JsonObject | undefined): AiSdkUsage | undefined {
  if (metadata === undefined) return undefined
  const tier = own(metadata, 'serviceTier')
  const payload: Payload | undefined = usageOfPayload({ usage: { input_tokens: 0 }, service_tier: tier })
  return {
    ...known('cacheRead', countOf(metadata, 'cachedPromptTokens')),
    ...known('reasoning', countOf(metadata, 'reasoningTokens')),
    ...(payload === undefined ? {} : { payload }),
  }
}

function known(key: keyof AiSdkUsage, ...values: readonly number[]): AiSdkUsage {
  const value = values.find((candidate) => !Number.isNaN(candidate))
  return value === undefined ? {} : { [key]: value }
}
