-- What did each model cost per day?
SELECT toDate(Timestamp) AS Day, Provider, if(PriceModel != '', PriceModel, ResponseModel) AS Model,
    sum(CostUsd) AS Usd, count() AS Calls, sum(TotalInputTokens) AS TokensIn, sum(TotalOutputTokens) AS TokensOut
FROM llm_calls
WHERE Timestamp >= {since:DateTime}
GROUP BY Day, Provider, Model
ORDER BY Day, Usd DESC
