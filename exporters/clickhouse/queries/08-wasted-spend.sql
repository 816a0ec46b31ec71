-- How much money went into calls that failed or were cut off?
SELECT if(PriceModel != '', PriceModel, ResponseModel) AS Model, if(Failed = 1, if(StatusMessage != '', StatusMessage, 'error'), FinishReason) AS Why,
    count() AS Calls, sum(CostUsd) AS Usd
FROM llm_calls
WHERE Timestamp >= {since:DateTime} AND (Failed = 1 OR FinishReason IN ('length', 'max_tokens', 'content_filter', 'SAFETY', 'MAX_TOKENS'))
GROUP BY Model, Why
ORDER BY Usd DESC
