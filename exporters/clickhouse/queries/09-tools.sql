-- Which tools fail, and how long do they take?
SELECT ToolName, count() AS Calls, round(avg(Failed), 4) AS ErrorRate, round(quantile(0.95)(DurationMs), 1) AS P95Ms
FROM tool_calls
WHERE Timestamp >= {since:DateTime}
GROUP BY ToolName
ORDER BY Calls DESC
