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

-- One row per run. A trace without a run id is a run of its own when an agent or a model took part in it.
CREATE OR REPLACE VIEW {{database}}.agent_runs AS
SELECT
    TenantId, any(ProjectId) AS ProjectId, Run AS RunId, any(TraceId) AS TraceId,
    anyIf(AgentName, AgentName != '') AS AgentName, anyIf(SessionId, SessionId != '') AS SessionId, anyIf(UserId, UserId != '') AS UserId,
    min(Timestamp) AS Started, max(addNanoseconds(Timestamp, Duration)) AS Ended,
    dateDiff('millisecond', Started, Ended) AS DurationMs,
    anyIf(SpanAttributes['agent.run.status'], SpanAttributes['agent.run.status'] != '') AS Stated,
    multiIf(Stated != '', Stated, countIf(ParentSpanId = '') = 0, 'running', countIf(ParentSpanId = '' AND StatusCode = 'Error') > 0, 'failed', 'completed') AS Status,
    count() AS Spans, countIf(ModelCall = 1) AS LlmCalls, countIf(Operation = 'execute_tool') AS ToolCalls, countIf(StatusCode = 'Error') AS Errors,
    sum(toUInt64(InputTokens) + CacheReadTokens + CacheWriteTokens + CacheWrite1hTokens + AudioInputTokens + ImageInputTokens) AS TotalInputTokens,
    sum(toUInt64(OutputTokens) + ReasoningTokens + AudioOutputTokens + ImageOutputTokens) AS TotalOutputTokens,
    sum(CostUsd) AS CostUsd, countIf(CostStatus = 'unpriced') AS UnpricedCalls
FROM (SELECT *, if(RunId != '', RunId, TraceId) AS Run FROM {{traces}})
GROUP BY TenantId, Run
HAVING countIf(RunId != '' OR Operation != '') > 0;

CREATE OR REPLACE VIEW {{database}}.cost_daily AS
SELECT
    TenantId, ProjectId, toDate(Timestamp) AS Day, Provider, if(PriceModel != '', PriceModel, ResponseModel) AS Model, AgentName, UserId, CostStatus,
    count() AS Calls,
    sum(toUInt64(InputTokens) + CacheReadTokens + CacheWriteTokens + CacheWrite1hTokens + AudioInputTokens + ImageInputTokens) AS TotalInputTokens,
    sum(toUInt64(OutputTokens) + ReasoningTokens + AudioOutputTokens + ImageOutputTokens) AS TotalOutputTokens,
    sum(CostUsd) AS CostUsd
FROM {{traces}}
WHERE ModelCall = 1
GROUP BY TenantId, ProjectId, Day, Provider, Model, AgentName, UserId, CostStatus;

-- Verdicts are spans of the run's trace, named `validate <name>` (design section 6).
CREATE OR REPLACE VIEW {{database}}.violations AS
SELECT
    TenantId, ProjectId, Timestamp, TraceId, SpanId, ParentSpanId, RunId, AgentName, ServiceName,
    substring(SpanName, 10) AS Validator, SpanAttributes['weir.violation.severity'] AS Severity, StatusMessage AS Message,
    SpanAttributes['weir.violation.rule'] AS Rule, SpanAttributes['weir.violation.span_id'] AS ViolatingSpanId
FROM {{traces}}
WHERE startsWith(SpanName, 'validate ');
