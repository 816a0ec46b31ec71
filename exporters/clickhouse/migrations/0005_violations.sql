-- What broke a rule: verdicts on runs are spans of the run's trace, named `validate <name>` (design section 6); what was found at
-- ingestion stands on the span itself, in lists that belong together.
CREATE OR REPLACE VIEW {{database}}.violations AS
SELECT
    TenantId, ProjectId, Timestamp, TraceId, SpanId, ParentSpanId, RunId, AgentName, ServiceName,
    substring(SpanName, 10) AS Validator, SpanAttributes['weir.violation.severity'] AS Severity, SpanAttributes['weir.violation.message'] AS Message,
    SpanAttributes['weir.violation.rule'] AS Rule, SpanAttributes['weir.violation.span_id'] AS ViolatingSpanId, 'run' AS Phase
FROM {{traces}}
WHERE startsWith(SpanName, 'validate ')
UNION ALL
SELECT
    TenantId, ProjectId, Timestamp, TraceId, SpanId, ParentSpanId, RunId, AgentName, ServiceName,
    splitByChar('.', Found.1)[1] AS Validator, Found.2 AS Severity, Found.3 AS Message,
    substring(Found.1, length(Validator) + 2) AS Rule, SpanId AS ViolatingSpanId, 'ingestion' AS Phase
FROM {{traces}}
ARRAY JOIN arrayZip(
    JSONExtract(SpanAttributes['weir.violation.rules'], 'Array(String)') AS Rules,
    arrayResize(JSONExtract(SpanAttributes['weir.violation.severities'], 'Array(String)'), length(Rules)),
    arrayResize(JSONExtract(SpanAttributes['weir.violation.messages'], 'Array(String)'), length(Rules))) AS Found
WHERE Violations > 0 AND NOT startsWith(SpanName, 'validate ');

-- With the violations of a run, and without its verdicts among its spans.
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
    ['', 'INFO', 'WARNING', 'ERROR', 'CRITICAL'][greatest(1, max(indexOf(['', 'INFO', 'WARNING', 'ERROR', 'CRITICAL'], SpanAttributes['weir.violation.severity'])))] AS HighestSeverity
FROM (SELECT *, if(RunId != '', RunId, TraceId) AS Run FROM {{traces}})
GROUP BY TenantId, Run
HAVING countIf(RunId != '' OR Operation != '') > 0;
