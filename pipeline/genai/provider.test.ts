import { expect, test } from 'vitest'
import { providerName, providerOfModel } from './provider.ts'

test.each([
  ['Anthropic', 'anthropic'],
  ['openai.responses', 'openai'],
  ['anthropic.messages', 'anthropic'],
  ['google.generative-ai', 'gcp.gemini'],
  ['google.vertex.anthropic.messages', 'gcp.vertex_ai'],
  ['amazon-bedrock', 'aws.bedrock'],
  ['AWS', 'aws.bedrock'],
  ['az.ai.openai', 'azure.ai.openai'],
  ['xai', 'x_ai'],
  ['mistral.chat', 'mistral_ai'],
  ['Langchain', ''],
  ['microsoft.agent_framework', ''],
  ['my-gateway', 'my-gateway'],
])('%s is %s', (raw, name) => expect(providerName(raw)).toBe(name))

test.each([
  ['gpt-4o', 'openai'],
  ['openai/gpt-5-mini', 'openai'],
  ['us.anthropic.claude-3-haiku-20240307-v1:0', 'aws.bedrock'],
  ['claude-sonnet-4-5@20250929', 'gcp.vertex_ai'],
  ['projects/p/locations/l/publishers/google/models/gemini-2.5-flash', 'gcp.vertex_ai'],
  ['unheard-of/claude-sonnet-4-5', 'anthropic'],
  ['llama3.1', ''],
])('model %s speaks of %s', (model, provider) => expect(providerOfModel(model)).toBe(provider))
