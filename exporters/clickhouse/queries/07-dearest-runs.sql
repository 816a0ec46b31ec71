-- Which traces cost most, and which loop?
SELECT TraceId, sum(CostUsd) AS Usd, countIf(ModelCall = 1) AS LlmCalls, countIf(Operation = 'execute_tool') AS ToolCalls,
    max(toUInt64(InputTokens) + CacheReadTokens + CacheWriteTokens + CacheWrite1hTokens) AS LargestContext
FROM otel_traces
WHERE Timestamp >= {since:DateTime}
GROUP BY TenantId, TraceId
HAVING LlmCalls > 0
ORDER BY Usd DESC, LlmCalls DESC
LIMIT 20
