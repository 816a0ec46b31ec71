-- Why did spend change against the week before: more calls, longer calls, or dearer tokens?
WITH weeks AS (
    SELECT if(PriceModel != '', PriceModel, ResponseModel) AS Model, toMonday(Timestamp) AS Week, count() AS Calls,
        sum(TotalInputTokens + TotalOutputTokens) / Calls AS TokensPerCall,
        sum(toFloat64(CostUsd)) / nullIf(sum(TotalInputTokens + TotalOutputTokens), 0) AS UsdPerToken
    FROM llm_calls
    WHERE Timestamp >= {since:DateTime}
    GROUP BY Model, Week
)
SELECT now.Model AS Model, now.Week AS Week,
    round(now.Calls * now.TokensPerCall * now.UsdPerToken - before.Calls * before.TokensPerCall * before.UsdPerToken, 4) AS ChangeUsd,
    round((toInt64(now.Calls) - toInt64(before.Calls)) * before.TokensPerCall * before.UsdPerToken, 4) AS ByVolume,
    round(now.Calls * (now.TokensPerCall - before.TokensPerCall) * before.UsdPerToken, 4) AS ByTokens,
    round(now.Calls * now.TokensPerCall * (now.UsdPerToken - before.UsdPerToken), 4) AS ByPrice
FROM weeks AS now
INNER JOIN weeks AS before ON now.Model = before.Model
WHERE now.Week = before.Week + INTERVAL 7 DAY
ORDER BY abs(ChangeUsd) DESC
