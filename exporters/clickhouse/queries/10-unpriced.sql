-- Which models have no price, and where does the sender's cost differ from ours by more than 5 %?
SELECT Provider, ResponseModel, countIf(CostStatus = 'unpriced') AS Unpriced, any(CostReason) AS Reason,
    countIf(CostProvidedUsd IS NOT NULL AND CostStatus = 'computed' AND abs(toFloat64(CostProvidedUsd) - toFloat64(CostUsd)) > 0.05 * greatest(toFloat64(CostProvidedUsd), toFloat64(CostUsd))) AS Differ,
    count() AS Calls
FROM llm_calls
WHERE Timestamp >= {since:DateTime}
GROUP BY Provider, ResponseModel
HAVING Unpriced > 0 OR Differ > 0
ORDER BY Calls DESC
