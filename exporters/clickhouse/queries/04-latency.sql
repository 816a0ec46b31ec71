-- How long do calls take per model and hour (milliseconds)?
SELECT toStartOfHour(Timestamp) AS Hour, if(PriceModel != '', PriceModel, ResponseModel) AS Model, count() AS Calls,
    quantilesTDigest(0.5, 0.95, 0.99)(DurationMs) AS Ms
FROM llm_calls
WHERE Timestamp >= {since:DateTime}
GROUP BY Hour, Model
ORDER BY Hour, Model
