/** Providers by the names that instrumentations give them, folded into OTel's well-known values. */
const ALIASES: Readonly<Record<string, readonly string[]>> = {
  openai: ['open_ai', 'text-completion-openai', 'openai-compatible'],
  'azure.ai.openai': ['az.ai.openai', 'azure', 'azure_openai', 'azure-openai', 'azureopenai', 'openai_azure'],
  'azure.ai.inference': ['az.ai.inference', 'azure_ai', 'azure-ai', 'azure_ai_inference'],
  anthropic: ['claude'],
  'aws.bedrock': [
    'aws',
    'bedrock',
    'aws_bedrock',
    'amazon-bedrock',
    'amazon_bedrock',
    'amazon',
    'bedrock_converse',
  ],
  'gcp.gemini': [
    'gemini',
    'google',
    'google_genai',
    'google-genai',
    'google.generative-ai',
    'google_generative_ai',
    'google-generative-ai',
    'google_ai_studio',
    'google-gla',
    'googleai',
  ],
  'gcp.vertex_ai': [
    'vertex_ai',
    'vertexai',
    'vertex',
    'google.vertex',
    'google_vertexai',
    'google-vertex',
    'google_vertex',
    'gcp.vertex.agent',
    'google_anthropic_vertex',
  ],
  'gcp.gen_ai': [],
  cohere: ['cohere_chat'],
  deepseek: ['deepseek-ai'],
  groq: [],
  'ibm.watsonx.ai': ['watsonx', 'ibm', 'ibm_watsonx'],
  mistral_ai: ['mistral', 'mistralai', 'mistral-ai'],
  moonshot_ai: ['moonshot', 'moonshotai', 'moonshot-ai'],
  perplexity: [],
  x_ai: ['xai', 'x-ai', 'x.ai', 'grok'],
  openrouter: ['open_router'],
  fireworks_ai: ['fireworks', 'fireworks-ai', 'fireworksai'],
  together_ai: ['together', 'together-ai', 'togetherai'],
  cerebras: [],
  cloudflare: ['workers-ai', 'cloudflare-workers-ai'],
  github_copilot: ['github-copilot', 'copilot'],
  vercel_ai_gateway: ['gateway', 'vercel', 'vercel-ai-gateway'],
  voyage: ['voyageai', 'voyage-ai', 'voyage_ai'],
  huggingface: ['hugging_face', 'hugging-face'],
  ollama: [],
}

/** What is longer is no provider: the walk over dots stays short, and what is remembered by name stays small. */
const MAX_NAME = 128

/** Frameworks that write themselves where the provider belongs: the model must tell. */
const NOT_PROVIDERS: ReadonlySet<string> = new Set([
  'langchain',
  'langgraph',
  'llamaindex',
  'llama_index',
  'litellm',
  'crewai',
  'autogen',
  'semantic_kernel',
  'microsoft.agent_framework',
  'pydantic_ai',
  'unknown',
  'other',
  '_other',
])

const CANONICAL: ReadonlyMap<string, string> = new Map(
  Object.entries(ALIASES).flatMap(([name, aliases]): [string, string][] => [
    [name, name],
    ...aliases.map((alias): [string, string] => [alias, name]),
  ]),
)

/**
 * OTel's name of a provider as any instrumentation writes it: `Anthropic`, `openai.responses`, `amazon-bedrock`, `AWS`.
 * '' for a framework's name; a name of nobody's list in lower case.
 */
export function providerName(raw: string): string {
  if (raw.length > MAX_NAME) return ''
  const known = seen.get(raw)
  if (known !== undefined) return known
  const name = folded(raw)
  if (seen.size < MAX_SEEN) seen.set(raw, name)
  return name
}

/** Few names come again and again; what senders make up does not grow it. */
const seen = new Map<string, string>()
const MAX_SEEN = 256

function folded(raw: string): string {
  const name = raw.trim().toLowerCase()
  if (NOT_PROVIDERS.has(name)) return ''
  // AI SDK ids carry the API behind dots: `google.vertex.anthropic.messages`.
  for (let head = name; head !== ''; head = head.slice(0, Math.max(head.lastIndexOf('.'), 0))) {
    const found = CANONICAL.get(head)
    if (found !== undefined) return found
  }
  return name
}

/** Model ids → who makes or serves them. Anchored and linear. */
const BY_MODEL: readonly (readonly [RegExp, string])[] = [
  [/^projects\/[^/]+\/locations\/|@\d{8}$/, 'gcp.vertex_ai'],
  [
    /^arn:aws[a-z-]*:bedrock:|^(?:[a-z-]+\.)?(?:anthropic|amazon|meta|cohere|ai21|stability)\./,
    'aws.bedrock',
  ],
  [
    /^(?:ft:)?(?:gpt-|chatgpt-|o[134](?:-|$)|text-embedding-(?:3|ada)|davinci|babbage|whisper-|dall-e|codex-)/,
    'openai',
  ],
  [/^claude/, 'anthropic'],
  [/^(?:models\/)?(?:gemini|gemma|learnlm|text-embedding-00)/, 'gcp.gemini'],
  [/^(?:open-)?(?:mistral|mixtral|codestral|ministral|magistral|devstral|pixtral|voxtral)/, 'mistral_ai'],
  [/^(?:command|embed-(?:english|multilingual|v4)|rerank-|c4ai-)/, 'cohere'],
  [/^deepseek-/, 'deepseek'],
  [/^grok-/, 'x_ai'],
  [/^(?:kimi|moonshot)-/, 'moonshot_ai'],
  [/^(?:sonar|r1-1776)/, 'perplexity'],
  [/^voyage-/, 'voyage'],
  [/^@cf\//, 'cloudflare'],
  [/^accounts\/fireworks\//, 'fireworks_ai'],
]

/** The provider that a model id speaks of; '' when it does not. */
export function providerOfModel(model: string): string {
  const id = model.trim().toLowerCase()
  for (const [pattern, provider] of BY_MODEL) if (pattern.test(id)) return provider
  const slash = id.indexOf('/')
  if (slash < 0) return ''
  const vendor = CANONICAL.get(id.slice(0, slash))
  if (vendor !== undefined) return vendor
  const last = id.slice(id.lastIndexOf('/') + 1)
  return BY_MODEL.find(([pattern]) => pattern.test(last))?.[1] ?? ''
}
