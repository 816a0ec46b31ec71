-- What does one run of each agent cost? Counts the model calls themselves, never the sums on spans around them.
SELECT AgentName, count() AS Runs, round(avg(toFloat64(CostUsd)), 6) AS AverageUsd, round(quantile(0.95)(toFloat64(CostUsd)), 6) AS P95Usd,
    round(avg(LlmCalls + ToolCalls), 1) AS Steps
FROM agent_runs
WHERE Started >= {since:DateTime}
GROUP BY AgentName
ORDER BY AverageUsd DESC
