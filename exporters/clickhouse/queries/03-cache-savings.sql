-- How much input came from the cache per model, and what would it have cost uncached?
SELECT if(PriceModel != '', PriceModel, ResponseModel) AS Model,
    round(sum(CacheReadTokens) / nullIf(sum(TotalInputTokens), 0), 4) AS HitRatio,
    round(sum(CacheReadTokens) * sum(toFloat64(CostInputUsd)) / nullIf(sum(InputTokens), 0) - sum(toFloat64(CostCacheReadUsd)), 6) AS SavedUsd
FROM llm_calls
WHERE Timestamp >= {since:DateTime}
GROUP BY Model
ORDER BY SavedUsd DESC NULLS LAST
