-- One row per run, its verdicts not counted among its spans. A trace without a run id is a run of its own when an agent or
-- a model took part in it. A run's own figures are its own; SampleRate says how many runs it stands for.
CREATE OR REPLACE VIEW {{database}}.agent_runs AS
SELECT
    TenantId, any(ProjectId) AS ProjectId, Run AS RunId, any(TraceId) AS TraceId,
    anyIf(AgentName, AgentName != '') AS AgentName, anyIf(SessionId, SessionId != '') AS SessionId, anyIf(UserId, UserId != '') AS UserId,
    min(Timestamp) AS Started, max(addNanoseconds(Timestamp, Duration)) AS Ended,
    dateDiff('millisecond', Started, Ended) AS DurationMs,
    anyIf(SpanAttributes['agent.run.status'], SpanAttributes['agent.run.status'] != '') AS Stated,
    multiIf(Stated != '', Stated, countIf(ParentSpanId = '') = 0, 'running', countIf(ParentSpanId = '' AND StatusCode = 'Error') > 0, 'failed', 'completed') AS Status,
    countIf(NOT startsWith(SpanName, 'validate ')) AS Spans, countIf(ModelCall = 1) AS LlmCalls, countIf(Operation = 'execute_tool') AS ToolCalls, countIf(StatusCode = 'Error') AS Errors,
    sum(toUInt64(InputTokens) + CacheReadTokens + CacheWriteTokens + CacheWrite1hTokens + AudioInputTokens + ImageInputTokens) AS TotalInputTokens,
    sum(toUInt64(OutputTokens) + ReasoningTokens + AudioOutputTokens + ImageOutputTokens) AS TotalOutputTokens,
    sum(CostUsd) AS CostUsd, countIf(CostStatus = 'unpriced') AS UnpricedCalls,
    sum(Violations) AS ViolationCount,
    ['', 'INFO', 'WARNING', 'ERROR', 'CRITICAL'][greatest(1, max(indexOf(['', 'INFO', 'WARNING', 'ERROR', 'CRITICAL'], SpanAttributes['weir.violation.severity'])))] AS HighestSeverity,
    max(SampleRate) AS SampleRate
FROM (SELECT *, if(RunId != '', RunId, TraceId) AS Run FROM {{traces}})
GROUP BY TenantId, Run
HAVING countIf(RunId != '' OR Operation != '') > 0;
