-- How soon does the first token come, and how fast do the others follow (streaming calls only)?
SELECT if(PriceModel != '', PriceModel, ResponseModel) AS Model, count() AS Calls,
    round(quantile(0.95)(TimeToFirstTokenMs)) AS FirstTokenP95Ms,
    round(quantile(0.5)(TotalOutputTokens / ((DurationMs - TimeToFirstTokenMs) / 1000)), 1) AS TokensPerSecond
FROM llm_calls
WHERE Timestamp >= {since:DateTime} AND TimeToFirstTokenMs > 0 AND DurationMs > TimeToFirstTokenMs
GROUP BY Model
ORDER BY Model
