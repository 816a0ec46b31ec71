import { describe, expect, test } from 'vitest'
import { batchOf, tokensOf, type Attributes, type SpanSketch } from '../../test/genai/spans.ts'
import { factsOf } from './facts-of.ts'

/** The facts of one span with these attributes. */
function facts(attributes: Attributes, more: Omit<SpanSketch, 'attributes'> = {}) {
  return factsOf(batchOf({ attributes, ...more }))
}

describe('operation and leaf', () => {
  const cases: [Attributes, string, number][] = [
    [{ 'http.method': 'GET' }, '', 0],
    [{ 'gen_ai.operation.name': 'chat', 'gen_ai.request.model': 'gpt-4o' }, 'chat', 1],
    [{ 'gen_ai.operation.name': 'invoke_agent', 'gen_ai.request.model': 'gpt-4o' }, 'invoke_agent', 0],
    [{ 'gen_ai.operation.name': 'create_agent', 'gen_ai.request.model': 'gpt-4o' }, 'create_agent', 0],
    [{ 'gen_ai.operation.name': 'completion', 'gen_ai.request.model': 'gpt-4o' }, 'text_completion', 1],
    [{ 'gen_ai.operation.name': 'search_memory', 'gen_ai.request.model': 'gpt-4o' }, 'search_memory', 0],
    [
      { 'gen_ai.operation.name': 'video_generation', 'gen_ai.request.model': 'sora-2' },
      'video_generation',
      1,
    ],
    [{ 'openinference.span.kind': 'LLM' }, 'chat', 1],
    [{ 'openinference.span.kind': 'EMBEDDING' }, 'embeddings', 1],
    [{ 'openinference.span.kind': 'AGENT' }, 'invoke_agent', 0],
    [{ 'openinference.span.kind': 'UNKNOWN', 'gen_ai.operation.name': 'chat' }, 'chat', 1],
    [{ 'openinference.span.kind': 'LLM', 'gen_ai.operation.name': 'text_completion' }, 'text_completion', 1],
    [{ 'traceloop.span.kind': 'workflow' }, 'invoke_workflow', 0],
    [{ 'llm.request.type': 'embedding' }, 'embeddings', 1],
    [{ 'langsmith.span.kind': 'llm' }, 'chat', 1],
    [{ 'lmnr.span.type': 'CACHED', 'gen_ai.request.model': 'gpt-4o' }, 'cached_chat', 0],
    [{ 'langfuse.observation.type': 'generation' }, 'chat', 1],
    [{ 'langfuse.observation.type': 'span', 'gen_ai.request.model': 'gpt-4o' }, '', 0],
    [{ 'langfuse.observation.type': 'span', 'langfuse.observation.model.name': 'gpt-4o' }, 'chat', 1],
    [{ 'ai.operationId': 'ai.generateText', 'ai.model.id': 'gpt-5' }, 'invoke_agent', 0],
    [{ 'ai.operationId': 'ai.streamText.doStream', 'ai.model.id': 'gpt-5' }, 'chat', 1],
    [{ 'operation.name': 'ai.embed.doEmbed my-function', 'ai.model.id': 'x' }, 'embeddings', 1],
    [{ 'operation.name': 'checkout' }, '', 0],
    // Another instrumentation calls the AI SDK's run an LLM: its tokens are still the sum of the calls within.
    [
      { 'openinference.span.kind': 'LLM', 'ai.operationId': 'ai.generateText', 'ai.model.id': 'gpt-5' },
      'chat',
      0,
    ],
    [{ 'mcp.method.name': 'tools/call', 'gen_ai.tool.name': 'search' }, 'execute_tool', 0],
    [{ 'gen_ai.tool.call.id': 'call_1' }, 'execute_tool', 0],
    [{ 'pydantic_ai.all_messages': '[]', 'gen_ai.usage.input_tokens': 5 }, 'invoke_agent', 0],
    [{ 'llm.model_name': 'gpt-4o' }, 'chat', 1],
    [{ model: '' }, '', 0],
    [{ 'gen_ai.usage.input_tokens': 5 }, 'chat', 1],
  ]
  test.each(cases)('%j is %s, leaf %d', (attributes, operation, leaf) => {
    const found = facts(attributes)
    expect([found.operation.at(0), found.leaf[0]]).toEqual([operation, leaf])
  })
})

describe('tokens', () => {
  const chat = { 'gen_ai.operation.name': 'chat', 'gen_ai.request.model': 'm' }

  test('the convention says input holds cached and written tokens', () => {
    const found = facts({
      ...chat,
      'gen_ai.usage.input_tokens': 100,
      'gen_ai.usage.output_tokens': 40,
      'gen_ai.usage.cache_read.input_tokens': 20,
      'gen_ai.usage.cache_write.input_tokens': 10,
      'gen_ai.usage.reasoning.output_tokens': 15,
    })
    expect(tokensOf(found)).toEqual({
      InputTokens: 70,
      CacheReadTokens: 20,
      CacheWriteTokens: 10,
      OutputTokens: 25,
      ReasoningTokens: 15,
    })
    expect(found.usageSemantics.at(0)).toBe('inclusive')
  })

  test('cached tokens beyond the input are not inside it', () => {
    const found = facts({
      ...chat,
      'gen_ai.usage.input_tokens': 50,
      'gen_ai.usage.cache_read.input_tokens': 1000,
    })
    expect(tokensOf(found)).toEqual({ InputTokens: 50, CacheReadTokens: 1000 })
    expect(found.usageSemantics.at(0)).toBe('inferred')
  })

  test('a total over input, output and cache says that input was exclusive', () => {
    const found = facts({
      ...chat,
      'gen_ai.usage.input_tokens': 500,
      'gen_ai.usage.output_tokens': 10,
      'gen_ai.usage.cache_read.input_tokens': 100,
      'gen_ai.usage.total_tokens': 610,
    })
    expect(tokensOf(found)).toEqual({ InputTokens: 500, CacheReadTokens: 100, OutputTokens: 10 })
    expect(found.usageSemantics.at(0)).toBe('inferred')
  })

  test('a total of input and output proves nothing', () => {
    const found = facts({
      ...chat,
      'gen_ai.usage.input_tokens': 500,
      'gen_ai.usage.output_tokens': 10,
      'gen_ai.usage.cache_read.input_tokens': 100,
      'gen_ai.usage.total_tokens': 510,
    })
    expect(tokensOf(found)).toEqual({ InputTokens: 400, CacheReadTokens: 100, OutputTokens: 10 })
  })

  test('the Bedrock instrumentation is exclusive, the Anthropic one inclusive', () => {
    const usage = {
      ...chat,
      'gen_ai.usage.input_tokens': 500,
      'gen_ai.usage.cache_read_input_tokens': 100,
    }
    const bedrock = facts(usage, { scope: 'opentelemetry.instrumentation.bedrock' })
    expect([tokensOf(bedrock)['InputTokens'], bedrock.usageSemantics.at(0)]).toEqual([500, 'exclusive'])
    const anthropic = facts(usage, { scope: 'opentelemetry.instrumentation.anthropic' })
    expect([tokensOf(anthropic)['InputTokens'], anthropic.usageSemantics.at(0)]).toEqual([400, 'inclusive'])
  })

  test.each([
    ['ai/4.3.16', 'anthropic.messages', 500],
    ['ai/5.0.76', 'amazon-bedrock', 500],
    ['ai/5.0.76', 'openai.responses', 400],
    ['ai/6.0.1', 'anthropic.messages', 400],
  ])('AI SDK %s with %s counts %d uncached', (agent, provider, uncached) => {
    const found = facts({
      'ai.operationId': 'ai.generateText.doGenerate',
      'ai.model.provider': provider,
      'ai.model.id': 'm',
      'ai.request.headers.user-agent': agent,
      'ai.usage.inputTokens': 500,
      'ai.usage.cachedInputTokens': 100,
    })
    expect(tokensOf(found)).toEqual({ InputTokens: uncached, CacheReadTokens: 100 })
  })

  test('AI SDK 5 leaves thoughts out of Google output', () => {
    const found = facts({
      'ai.operationId': 'ai.generateText.doGenerate',
      'ai.model.provider': 'google.generative-ai',
      'ai.model.id': 'gemini-2.5-pro',
      'ai.request.headers.user-agent': 'ai/5.0.0',
      'ai.usage.inputTokens': 10,
      'ai.usage.outputTokens': 100,
      'ai.usage.reasoningTokens': 60,
    })
    expect(tokensOf(found)).toEqual({ InputTokens: 10, OutputTokens: 100, ReasoningTokens: 60 })
  })

  test('Anthropic raw usage in the AI SDK metadata decides, and splits writes by lifetime', () => {
    const raw = {
      input_tokens: 7,
      cache_read_input_tokens: 100,
      cache_creation_input_tokens: 30,
      cache_creation: { ephemeral_5m_input_tokens: 20, ephemeral_1h_input_tokens: 10 },
    }
    const found = facts({
      'gen_ai.operation.name': 'chat',
      'gen_ai.usage.input_tokens': 137,
      'gen_ai.usage.output_tokens': 1,
      'ai.response.providerMetadata': JSON.stringify({ anthropic: { usage: raw } }),
    })
    expect(tokensOf(found)).toEqual({
      InputTokens: 7,
      CacheReadTokens: 100,
      CacheWriteTokens: 20,
      CacheWrite1hTokens: 10,
      OutputTokens: 1,
    })
    expect(found.usageSemantics.at(0)).toBe('inclusive')
  })

  test('Langfuse buckets are disjoint already', () => {
    const found = facts({
      'langfuse.observation.type': 'generation',
      'langfuse.observation.usage_details': JSON.stringify({
        input: 5,
        input_cached_tokens: 100,
        output: 7,
        output_reasoning_tokens: 3,
        total: 115,
      }),
    })
    expect(tokensOf(found)).toEqual({
      InputTokens: 5,
      CacheReadTokens: 100,
      OutputTokens: 7,
      ReasoningTokens: 3,
    })
    expect(found.usageSemantics.at(0)).toBe('disjoint')
  })

  test('an OpenAI usage object handed to Langfuse is not', () => {
    const found = facts({
      'langfuse.observation.type': 'generation',
      'langfuse.observation.usage_details': JSON.stringify({
        prompt_tokens: 100,
        completion_tokens: 10,
        prompt_tokens_details: { cached_tokens: 60 },
      }),
    })
    expect(tokensOf(found)).toEqual({ InputTokens: 40, CacheReadTokens: 60, OutputTokens: 10 })
  })

  test('the answer itself is read when no attribute counts', () => {
    const found = facts({
      'openinference.span.kind': 'LLM',
      'output.value': JSON.stringify({ model: 'x', usage: { prompt_tokens: 12, completion_tokens: 3 } }),
    })
    expect(tokensOf(found)).toEqual({ InputTokens: 12, OutputTokens: 3 })
  })

  test('a Gemini total over input and output holds thoughts', () => {
    const found = facts({
      'openinference.span.kind': 'LLM',
      'llm.model_name': 'gemini-2.5-flash',
      'llm.token_count.prompt': 5,
      'llm.token_count.completion': 845,
      'llm.token_count.total': 2023,
    })
    expect(tokensOf(found)).toEqual({ InputTokens: 5, OutputTokens: 845, ReasoningTokens: 1173 })
    expect(found.usageSemantics.at(0)).toBe('inferred')
  })

  test('text that looks like a number counts, and is marked', () => {
    const found = facts({ ...chat, 'gen_ai.usage.input_tokens': '174', 'gen_ai.usage.output_tokens': '31' })
    expect(tokensOf(found)).toEqual({ InputTokens: 174, OutputTokens: 31 })
    expect(found.usageSemantics.at(0)).toBe('inferred')
  })

  test.each(['many', '', '-5', 'NaN', '1e400', true])('%j is no count: the next source is taken', (value) => {
    const found = facts({ ...chat, 'gen_ai.usage.input_tokens': value, 'gen_ai.usage.prompt_tokens': 9 })
    expect(tokensOf(found)).toEqual({ InputTokens: 9 })
  })

  test.each([
    [50, 'exclusive'],
    [2150, 'inclusive'],
  ])('the provider’s answer on the span says what its input of %d holds', (input, semantics) => {
    const found = facts({
      'openinference.span.kind': 'LLM',
      'llm.model_name': 'claude-sonnet-4-5',
      'llm.token_count.prompt': input,
      'llm.token_count.completion': 9,
      'llm.token_count.prompt_details.cache_read': 2000,
      'llm.token_count.prompt_details.cache_write': 100,
      'output.value': JSON.stringify({
        usage: {
          input_tokens: 50,
          output_tokens: 9,
          cache_read_input_tokens: 2000,
          cache_creation_input_tokens: 100,
        },
      }),
    })
    expect(found.usageSemantics.at(0)).toBe(semantics)
    expect(tokensOf(found)).toEqual({
      InputTokens: 50,
      CacheReadTokens: 2000,
      CacheWriteTokens: 100,
      OutputTokens: 9,
    })
  })

  test('LangSmith’s details are JSON beside the counts, which hold them', () => {
    const found = facts({
      'langsmith.span.kind': 'llm',
      'gen_ai.system': 'langchain',
      'gen_ai.request.model': 'claude-sonnet-4-5',
      'gen_ai.usage.input_tokens': 1000,
      'gen_ai.usage.output_tokens': 100,
      'gen_ai.usage.input_token_details': JSON.stringify({
        cache_read: 600,
        cache_creation: 300,
        ephemeral_1h_input_tokens: 200,
        ephemeral_5m_input_tokens: 100,
      }),
      'gen_ai.usage.output_token_details': '{"reasoning": 40}',
    })
    expect(found.provider.at(0)).toBe('anthropic')
    expect(tokensOf(found)).toEqual({
      InputTokens: 100,
      CacheReadTokens: 600,
      CacheWriteTokens: 100,
      CacheWrite1hTokens: 200,
      OutputTokens: 60,
      ReasoningTokens: 40,
    })
  })

  test.each([
    [160, { InputTokens: 100, OutputTokens: 35, ReasoningTokens: 25 }],
    [185, { InputTokens: 100, OutputTokens: 60, ReasoningTokens: 25 }],
    [0, { InputTokens: 100, OutputTokens: 60, ReasoningTokens: 25 }],
  ])('Google ADK leaves thoughts out, unless its total (%d) says that they are in', (total, expected) => {
    const counts = {
      'gen_ai.system': 'gcp.vertex.agent',
      'gen_ai.request.model': 'gemini-2.5-pro',
      'gen_ai.usage.input_tokens': 100,
      'gen_ai.usage.output_tokens': 60,
      'gen_ai.usage.reasoning.output_tokens': 25,
      ...(total === 0 ? {} : { 'gen_ai.usage.total_tokens': total }),
    }
    expect(tokensOf(facts(counts, { scope: 'gcp.vertex.agent' }))).toEqual(expected)
  })

  test('Semantic Kernel’s first names and Pydantic’s details of Gemini count', () => {
    const kernel = { ...chat, 'gen_ai.response.prompt_tokens': 70, 'gen_ai.response.completion_tokens': 7 }
    expect(tokensOf(facts(kernel))).toEqual({ InputTokens: 70, OutputTokens: 7 })
    const gemini = {
      ...chat,
      'gen_ai.usage.input_tokens': 100,
      'gen_ai.usage.output_tokens': 50,
      'gen_ai.usage.details.cached_content_tokens': 40,
      'gen_ai.usage.details.audio_prompt_tokens': 30,
      'gen_ai.usage.details.thoughts_tokens': 20,
    }
    expect(tokensOf(facts(gemini, { scope: 'pydantic-ai' }))).toEqual({
      InputTokens: 30,
      CacheReadTokens: 40,
      AudioInputTokens: 30,
      OutputTokens: 30,
      ReasoningTokens: 20,
    })
  })

  test('malformed JSON values cost nothing but themselves', () => {
    const found = facts({
      ...chat,
      'gen_ai.usage.input_tokens': 9,
      'langfuse.observation.usage_details': '{"input": ',
      'langfuse.observation.cost_details': '[1,',
      'ai.response.providerMetadata': 'null',
      'gen_ai.response.finish_reasons': '["stop"',
    })
    expect(tokensOf(found)).toEqual({ InputTokens: 9 })
    expect(found.costProvided[0]).toBe(-1n)
  })

  test('a run carries no tokens, whatever its span says', () => {
    const found = facts({ 'gen_ai.operation.name': 'invoke_agent', 'gen_ai.usage.input_tokens': 631 })
    expect(tokensOf(found)).toEqual({})
    expect(found.usageSemantics.at(0)).toBe('none')
  })
})

describe('who and what', () => {
  test('names come from the first source that has one', () => {
    const found = facts({
      'gen_ai.operation.name': 'chat',
      'gen_ai.provider.name': '',
      'gen_ai.system': 'Anthropic',
      'gen_ai.request.model': 'claude-sonnet-4-5',
      'gen_ai.conversation.id': 'c',
      'session.id': 's',
      'enduser.id': 'u',
      'gen_ai.agent.name': 'planner',
      'agent.run.id': 'run-1',
      'toon.seq': 7,
      'gen_ai.response.finish_reasons': ['length', 'stop'],
      'gen_ai.response.time_to_first_chunk': 0.25,
      'gen_ai.request.service_tier': 'auto',
    })
    expect({
      provider: found.provider.at(0),
      request: found.requestModel.at(0),
      response: found.responseModel.at(0),
      session: found.sessionId.at(0),
      user: found.userId.at(0),
      agent: found.agentName.at(0),
      run: found.runId.at(0),
      seq: found.seq[0],
      finish: found.finishReason.at(0),
      ttft: found.timeToFirstTokenMs[0],
      tier: found.serviceTier.at(0),
    }).toEqual({
      provider: 'anthropic',
      request: 'claude-sonnet-4-5',
      response: 'claude-sonnet-4-5',
      session: 's',
      user: 'u',
      agent: 'planner',
      run: 'run-1',
      seq: 7,
      finish: 'length',
      ttft: 250,
      tier: 'standard',
    })
  })

  test('events tell the first token and the reason to end, where no attribute does', () => {
    const chat = { 'openinference.span.kind': 'LLM', 'llm.model_name': 'gpt-4o' }
    const events = [
      { name: 'gen_ai.user.message', afterMs: 1 },
      { name: 'First Token Stream Event', afterMs: 250 },
      { name: 'First Token Stream Event', afterMs: 900 },
      { name: 'gen_ai.choice', afterMs: 1000, attributes: { finish_reason: 'tool_calls' } },
      {
        name: 'gen_ai.choice',
        afterMs: 1001,
        attributes: { 'gen_ai.event.content': '{"finish_reason":"stop"}' },
      },
    ]
    const found = facts(chat, { events })
    expect([found.timeToFirstTokenMs[0], found.finishReason.at(0)]).toEqual([250, 'stop'])
    const told = facts(
      { ...chat, 'gen_ai.response.time_to_first_chunk': 0.1, 'gen_ai.response.finish_reasons': ['length'] },
      { events },
    )
    expect([told.timeToFirstTokenMs[0], told.finishReason.at(0)]).toEqual([100, 'length'])
  })

  test('what the call was made with tells its tier; an answer’s own tier goes before', () => {
    const chat = {
      'openinference.span.kind': 'LLM',
      'llm.model_name': 'gpt-5',
      'llm.invocation_parameters': '{"temperature": 1, "service_tier": "flex"}',
    }
    expect(facts(chat).serviceTier.at(0)).toBe('flex')
    expect(facts({ ...chat, 'openai.response.service_tier': 'default' }).serviceTier.at(0)).toBe('standard')
    expect(
      facts({ ...chat, 'llm.invocation_parameters': '{"service_tier": {"x": 1}' }).serviceTier.at(0),
    ).toBe('')
  })

  test.each<[Attributes, string]>([
    [{ 'traceloop.span.kind': 'tool', 'traceloop.entity.name': 'search' }, 'search'],
    [{ 'traceloop.span.kind': 'task', 'traceloop.entity.name': 'step' }, ''],
    [{ 'mcp.method.name': 'tools/call', 'mcp.tool.name': 'search' }, 'search'],
    [{ 'gcp.vertex.agent.session_id': 's', 'gen_ai.tool.name': 'search' }, 'search'],
  ])('%j names the tool %s', (attributes, name) => {
    expect(facts(attributes).toolName.at(0)).toBe(name)
  })

  test('the resource speaks where the span is silent', () => {
    const found = facts(
      { 'gen_ai.operation.name': 'chat' },
      { resource: { 'session.id': 's', 'user.id': 'u', 'gen_ai.agent.name': 'a' } },
    )
    expect([found.sessionId.at(0), found.userId.at(0), found.agentName.at(0)]).toEqual(['s', 'u', 'a'])
  })

  test('the facts are kept in the batch', () => {
    const batch = batchOf({ attributes: {} })
    expect(factsOf(batch)).toBe(factsOf(batch))
    expect(batch.facts).toBe(factsOf(batch))
  })

  test.each([
    [{ 'gen_ai.usage.cost': 0.000151 }, 151_000_000n],
    [{ 'gen_ai.usage.cost': '1.5e-7' }, 150_000n],
    [{ 'langfuse.observation.cost_details': '{"input": 0.0001, "output": 0.002}' }, 2_100_000_000n],
    [{ 'langfuse.observation.cost_details': '{"input": 1, "total": 0.5}' }, 500_000_000_000n],
    [{ 'gen_ai.usage.input_cost': 0.1, 'gen_ai.usage.output_cost': 0.2 }, 300_000_000_000n],
    [{ 'gen_ai.usage.cost': 'cheap' }, -1n],
    [{ 'gen_ai.usage.cost': -3 }, -1n],
  ])('the cost in %j is %d', (attributes: Attributes, units) => {
    expect(facts({ 'gen_ai.operation.name': 'chat', ...attributes }).costProvided[0]).toBe(units)
  })
})
