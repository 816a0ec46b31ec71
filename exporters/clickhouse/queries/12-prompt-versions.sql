-- How do versions of a prompt compare: cost, latency, errors, length of the answer?
SELECT
    coalesce(nullIf(SpanAttributes['langfuse.observation.prompt.name'], ''), nullIf(SpanAttributes['gen_ai.prompt.name'], ''), SpanAttributes['traceloop.prompt.key']) AS Prompt,
    coalesce(nullIf(SpanAttributes['langfuse.observation.prompt.version'], ''), nullIf(SpanAttributes['gen_ai.prompt.version'], ''), SpanAttributes['traceloop.prompt.version']) AS Version,
    count() AS Calls, round(avg(toFloat64(CostUsd)), 6) AS AverageUsd, round(quantile(0.95)(Duration / 1e6)) AS P95Ms,
    round(countIf(StatusCode = 'Error') / Calls, 4) AS ErrorRate, round(avg(OutputTokens + ReasoningTokens)) AS AverageOutputTokens
FROM otel_traces
WHERE Timestamp >= {since:DateTime} AND ModelCall = 1 AND Prompt != ''
GROUP BY Prompt, Version
ORDER BY Prompt, Version
