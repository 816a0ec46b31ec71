import { providerOfModel } from '../../pipeline/genai/provider.ts'
import { compileRule, exactIds, type Matcher } from './match.ts'
import { candidates, MAX_ID } from './model-id.ts'
import { PricedModel } from './rates.ts'
import type { PriceModel, PriceTable } from './table.ts'

/** One cloud sells under several names, or others' models; where to look, in order. */
const CHAINS: ReadonlyMap<string, readonly string[]> = new Map([
  [
    'azure.ai.openai',
    ['azure.ai.openai', 'azure.ai.inference', 'openai', 'anthropic', 'deepseek', 'x_ai', 'moonshot_ai'],
  ],
  [
    'azure.ai.inference',
    ['azure.ai.inference', 'azure.ai.openai', 'openai', 'anthropic', 'deepseek', 'x_ai'],
  ],
  ['gcp.gemini', ['gcp.gemini', 'gcp.vertex_ai']],
  ['gcp.vertex_ai', ['gcp.vertex_ai', 'gcp.gemini', 'anthropic']],
  ['gcp.gen_ai', ['gcp.gemini', 'gcp.vertex_ai']],
])

/** Makers whose models nobody else can run: behind a gateway their own list price is the best there is. */
const MAKERS: ReadonlySet<string> = new Set([
  'openai',
  'anthropic',
  'gcp.gemini',
  'gcp.vertex_ai',
  'aws.bedrock',
  'x_ai',
  'perplexity',
])

/** One's own machine: no list price applies. */
const SELF_HOSTED: ReadonlySet<string> = new Set([
  'ollama',
  'vllm',
  'llama_cpp',
  'llamacpp',
  'lmstudio',
  'lm_studio',
  'localai',
  'local',
  'tgi',
  'sglang',
  'lemonade',
])

const MAX_KNOWN = 4096

interface Shelf {
  readonly exact: Map<string, PricedModel>
  readonly rules: { readonly takes: Matcher; readonly model: PricedModel }[]
}

/** Prices by provider and model id, as senders write them. What was looked up is remembered, up to a bound. */
export class PriceBook {
  readonly version: string
  readonly #shelves = new Map<string, Shelf>()
  readonly #known = new Map<string, Map<string, PricedModel | undefined>>()
  #entries = 0

  constructor(table: PriceTable) {
    this.version = table.version
    for (const model of table.models) this.#add(model)
  }

  find(provider: string, model: string): PricedModel | undefined {
    if (model === '' || model.length > MAX_ID) return undefined
    let known = this.#known.get(provider)
    const before = known?.get(model)
    if (before !== undefined || known?.has(model) === true) return before
    if (this.#entries >= MAX_KNOWN) {
      this.#known.clear()
      this.#entries = 0
      known = undefined
    }
    const found = this.#search(provider, model)
    if (known === undefined) this.#known.set(provider, (known = new Map()))
    known.set(model, found)
    this.#entries++
    return found
  }

  #search(provider: string, model: string): PricedModel | undefined {
    const ids = candidates(model)
    const places = CHAINS.get(provider) ?? [provider]
    for (const place of places) {
      const found = this.#on(place, ids)
      if (found !== undefined) return found
    }
    const maker = providerOfModel(model)
    const isForeign = MAKERS.has(maker) && !places.includes(maker) && this.#resells(provider)
    return isForeign ? this.#search(maker, model) : undefined
  }

  #on(place: string, ids: readonly string[]): PricedModel | undefined {
    const shelf = this.#shelves.get(place)
    if (shelf === undefined) return undefined
    for (const id of ids) {
      const found = shelf.exact.get(id) ?? shelf.rules.find((rule) => rule.takes(id))?.model
      if (found !== undefined) return found
    }
    return undefined
  }

  /** Gateways, clients named `openai` that talk to another endpoint, and names that the table does not have. */
  #resells(provider: string): boolean {
    if (SELF_HOSTED.has(provider)) return false
    return (
      provider === 'openai' ||
      provider === 'openrouter' ||
      provider === 'vercel_ai_gateway' ||
      !this.#shelves.has(provider)
    )
  }

  #add(model: PriceModel): void {
    const priced = new PricedModel(model)
    let shelf = this.#shelves.get(model.provider)
    if (shelf === undefined) this.#shelves.set(model.provider, (shelf = { exact: new Map(), rules: [] }))
    shelf.exact.set(model.id, priced)
    if (model.match === undefined) return
    const { ids, open } = exactIds(model.match)
    for (const id of ids) if (!shelf.exact.has(id)) shelf.exact.set(id, priced)
    if (open) shelf.rules.push({ takes: compileRule(model.match), model: priced })
  }
}
