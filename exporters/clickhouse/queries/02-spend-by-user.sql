-- Which end users cost most, and what is their share?
SELECT UserId, sum(CostUsd) AS Usd, round(toFloat64(Usd) / nullIf(sum(toFloat64(Usd)) OVER (), 0), 4) AS Share, count() AS Calls
FROM llm_calls
WHERE Timestamp >= {since:DateTime}
GROUP BY UserId
ORDER BY Usd DESC
LIMIT 20
