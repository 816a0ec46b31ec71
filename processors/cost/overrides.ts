import { providerName } from '../../pipeline/genai/provider.ts'
import type { Override } from './config.ts'
import { candidates, MAX_ID } from './model-id.ts'
import { PricedModel } from './rates.ts'

/** The version written beside a cost that an override gave. */
export const OVERRIDE_VERSION = 'override'

interface Rule {
  readonly tenant: string | undefined
  readonly provider: string | undefined
  readonly id: string
  readonly isPrefix: boolean
  readonly model: PricedModel
}

/** Questions that were answered before; senders make names up, so there is a bound. */
const MAX_KNOWN = 4096
const NONE: readonly PricedModel[] = []

/** Prices from the config. A tenant's own come first, then in the order written. */
export class Overrides {
  readonly #rules: readonly Rule[]
  readonly #known = new Map<string, readonly PricedModel[]>()

  constructor(overrides: readonly Override[]) {
    const rules = overrides.map(compile)
    this.#rules = [
      ...rules.filter((rule) => rule.tenant !== undefined),
      ...rules.filter((rule) => rule.tenant === undefined),
    ]
  }

  /**
   * All that fit a call, best first (one may not hold at its date). A rule fits by the response model or by the request
   * model, which behind Azure and gateways is the deployment.
   */
  find(tenant: string, provider: string, response: string, request: string): readonly PricedModel[] {
    if (this.#rules.length === 0) return NONE
    const key = `${tenant}\0${provider}\0${response}\0${request}`
    const known = this.#known.get(key)
    if (known !== undefined) return known
    const ids = [...candidates(response), ...candidates(request)]
    const found = this.#rules.filter((rule) => fits(rule, tenant, provider, ids)).map((rule) => rule.model)
    if (response.length > MAX_ID || request.length > MAX_ID) return found
    if (this.#known.size >= MAX_KNOWN) this.#known.clear()
    this.#known.set(key, found)
    return found
  }
}

function fits(rule: Rule, tenant: string, provider: string, ids: readonly string[]): boolean {
  if (rule.tenant !== undefined && rule.tenant !== tenant) return false
  if (rule.provider !== undefined && rule.provider !== provider) return false
  return ids.some((id) => (rule.isPrefix ? id.startsWith(rule.id) : id === rule.id))
}

function compile(override: Override): Rule {
  const isPrefix = override.model.endsWith('*')
  const id = (isPrefix ? override.model.slice(0, -1) : override.model).toLowerCase()
  const provider = override.provider === undefined ? undefined : providerName(override.provider)
  return {
    tenant: override.tenant,
    provider,
    id,
    isPrefix,
    model: new PricedModel({
      provider: provider ?? '',
      id: override.model,
      periods: [
        {
          from: override.from,
          to: override.to,
          input: override.input,
          output: override.output,
          cacheRead: override.cache_read,
          cacheWrite: override.cache_write,
          cacheWrite1h: override.cache_write_1h,
          reasoning: override.reasoning,
          audioInput: override.audio_input,
          audioOutput: override.audio_output,
          imageInput: override.image_input,
          imageOutput: override.image_output,
        },
      ],
    }),
  }
}
