CREATE OR REPLACE VIEW {{database}}.llm_calls AS
SELECT
    TenantId, ProjectId, Timestamp, TraceId, SpanId, RunId, Seq, SessionId, UserId, AgentName, ServiceName, SpanName, Operation,
    Provider, RequestModel, ResponseModel, PriceModel, ServiceTier, FinishReason,
    InputTokens, CacheReadTokens, CacheWriteTokens, CacheWrite1hTokens, AudioInputTokens, ImageInputTokens,
    OutputTokens, ReasoningTokens, AudioOutputTokens, ImageOutputTokens, UsageSemantics,
    toUInt64(InputTokens) + CacheReadTokens + CacheWriteTokens + CacheWrite1hTokens + AudioInputTokens + ImageInputTokens AS TotalInputTokens,
    toUInt64(OutputTokens) + ReasoningTokens + AudioOutputTokens + ImageOutputTokens AS TotalOutputTokens,
    CostUsd, CostInputUsd, CostCacheReadUsd, CostCacheWriteUsd, CostOutputUsd, CostProvidedUsd, CostStatus, CostReason, PriceVersion,
    Duration / 1e6 AS DurationMs, TimeToFirstTokenMs, CAST(StatusCode = 'Error', 'UInt8') AS Failed, StatusMessage, SampleRate, EventId
FROM {{traces}}
WHERE ModelCall = 1;

CREATE OR REPLACE VIEW {{database}}.tool_calls AS
SELECT
    TenantId, ProjectId, Timestamp, TraceId, SpanId, RunId, Seq, SessionId, UserId, AgentName, ServiceName, SpanName, ToolName,
    Duration / 1e6 AS DurationMs, CAST(StatusCode = 'Error', 'UInt8') AS Failed, StatusMessage, SampleRate, EventId
FROM {{traces}}
WHERE Operation = 'execute_tool';
