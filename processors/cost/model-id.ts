/** Longer ids are no model's: rules and patterns stay cheap, and what is remembered stays small. */
export const MAX_ID = 200

/** Routing prefixes of gateways and SDKs. */
const ROUTE =
  /^(?:models|bedrock|converse|invoke|azure|azure_ai|openai|anthropic|gemini|google|vertex_ai|xai|x-ai|mistral|mistralai|groq|deepseek|cohere|perplexity|moonshot|moonshotai|openrouter|together_ai|fireworks_ai|litellm_proxy|litellm)\//

const REGION = /^(?:us|eu|apac|au|jp|ca|sa|us-gov|global)\./

/** OpenRouter variants that route differently at the model's price. `:free` is another price. */
const VARIANT = /:(?:nitro|floor|online|exacto|extended|thinking|beta)$/

const DATE = /-(?:\d{4}-\d{2}-\d{2}|\d{8}|\d{6}|\d{4})$/

/**
 * The ids under which a model may stand in the price table, best first: as written; without route, region, version;
 * without date; with dashes for dots. Aliases of one model, never another model.
 */
export function candidates(model: string): readonly string[] {
  if (model.length > MAX_ID) return []
  const id = model.trim().toLowerCase()
  if (id === '') return []
  // Of a resource name only the end is the model.
  let at = /^(?:arn:|projects\/|publishers\/)/.test(id) ? id.slice(id.lastIndexOf('/') + 1) : id
  const found = new Set([at])
  for (let step = 0; step < 3 && ROUTE.test(at); step++) {
    at = at.replace(ROUTE, '')
    found.add(at)
  }
  if (at.startsWith('ft:')) at = at.split(':', 2).join(':')
  found.add(at)
  at = at
    .replace(VARIANT, '')
    .replace(/@(?:latest|default)$/, '')
    .replace('@', '-')
  found.add(at)
  for (const form of [at, at.replace(REGION, '')]) {
    found.add(form)
    found.add(form.replace(/-v\d+(?::\d+)?$/, ''))
    found.add(form.replace(/-latest$/, ''))
    found.add(form.replace(DATE, ''))
    found.add(form.replace(DATE, '').replaceAll('.', '-'))
    found.add(form.replaceAll('.', '-'))
  }
  return [...found]
}
