-- Weighed by SampleRate: a span stands for those that sampling left out. Exact where nothing was.
-- The product of the largest cost and the largest SampleRate does not fit 128 bits, where it wraps around in silence.
CREATE OR REPLACE VIEW {{database}}.cost_daily AS
SELECT
    TenantId, ProjectId, toDate(Timestamp) AS Day, Provider, if(PriceModel != '', PriceModel, ResponseModel) AS Model, AgentName, UserId, CostStatus,
    toUInt64(round(sum(SampleRate))) AS Calls,
    toUInt64(round(sum((toUInt64(InputTokens) + CacheReadTokens + CacheWriteTokens + CacheWrite1hTokens + AudioInputTokens + ImageInputTokens) * SampleRate))) AS TotalInputTokens,
    toUInt64(round(sum((toUInt64(OutputTokens) + ReasoningTokens + AudioOutputTokens + ImageOutputTokens) * SampleRate))) AS TotalOutputTokens,
    CAST(sum(toDecimal256(CostUsd, 12) * toDecimal256(SampleRate, 6)), 'Decimal(76, 12)') AS CostUsd
FROM {{traces}}
WHERE ModelCall = 1
GROUP BY TenantId, ProjectId, Day, Provider, Model, AgentName, UserId, CostStatus;
