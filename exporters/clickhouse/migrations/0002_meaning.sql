-- What weir knows of a span's meaning, as typed columns (contract section 6). Rows that another program wrote keep
-- TenantId = '': they belong to no tenant and are seen only without a tenant's filter.
ALTER TABLE {{traces}}
    ADD COLUMN IF NOT EXISTS TenantId LowCardinality(String) CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS ProjectId LowCardinality(String) CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS RunId String CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS Seq UInt32 CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS SessionId String CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS UserId String CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS AgentName LowCardinality(String) CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS ToolName LowCardinality(String) CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS Operation LowCardinality(String) CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS ModelCall UInt8 COMMENT '1: carries its own model call; only these have tokens and cost' CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS Provider LowCardinality(String) CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS RequestModel LowCardinality(String) CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS ResponseModel LowCardinality(String) CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS PriceModel LowCardinality(String) CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS ServiceTier LowCardinality(String) CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS FinishReason LowCardinality(String) CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS InputTokens UInt32 COMMENT 'uncached' CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS CacheReadTokens UInt32 CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS CacheWriteTokens UInt32 CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS CacheWrite1hTokens UInt32 CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS AudioInputTokens UInt32 CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS ImageInputTokens UInt32 CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS OutputTokens UInt32 CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS ReasoningTokens UInt32 CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS AudioOutputTokens UInt32 CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS ImageOutputTokens UInt32 CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS UsageSemantics LowCardinality(String) COMMENT 'inclusive, exclusive, disjoint, inferred or none' CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS CostUsd Decimal(18, 12) CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS CostInputUsd Decimal(18, 12) CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS CostCacheReadUsd Decimal(18, 12) CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS CostCacheWriteUsd Decimal(18, 12) CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS CostOutputUsd Decimal(18, 12) CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS CostProvidedUsd Nullable(Decimal(18, 12)) CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS CostStatus LowCardinality(String) DEFAULT 'none' COMMENT 'computed, provided, unpriced or none' CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS CostReason LowCardinality(String) CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS PriceVersion LowCardinality(String) CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS TimeToFirstTokenMs Float64 CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS SampleRate Float64 DEFAULT 1 COMMENT 'spans that this one stands for' CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS Redactions UInt32 COMMENT 'values masked in this span' CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS Violations UInt32 COMMENT 'rules that this span broke' CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS EventId FixedString(16) COMMENT 'first 128 bits of SHA-256 over tenant, trace id, span id, start time' CODEC(NONE),
    ADD COLUMN IF NOT EXISTS WalSeq UInt64 CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS WalRow UInt32 CODEC(ZSTD(1));

-- Reads by tenant and time, by tenant, run and seq, and by WAL range (the count after an interrupted insert).
-- The sort key is the collector's, so these are skip indexes: README, section "Reads".
ALTER TABLE {{traces}}
    ADD INDEX IF NOT EXISTS idx_timestamp Timestamp TYPE minmax GRANULARITY 1,
    ADD INDEX IF NOT EXISTS idx_tenant TenantId TYPE set(64) GRANULARITY 1,
    ADD INDEX IF NOT EXISTS idx_run_id RunId TYPE bloom_filter(0.001) GRANULARITY 1,
    ADD INDEX IF NOT EXISTS idx_wal_seq WalSeq TYPE minmax GRANULARITY 1;

-- A repeated insert of the same frozen range is recognised by its token; one file per part up to 1 GiB halves the CPU.
ALTER TABLE {{traces}} MODIFY SETTING non_replicated_deduplication_window = 10000, min_bytes_for_wide_part = 1073741824;

-- Ids are unique per tenant only, so the look-up of a trace's time needs the tenant, too.
ALTER TABLE {{trace_id_ts}} ADD COLUMN IF NOT EXISTS TenantId LowCardinality(String) CODEC(ZSTD(1));

ALTER TABLE {{trace_id_ts_mv}} MODIFY QUERY
    SELECT TraceId, min(Timestamp) AS Start, max(Timestamp) AS End, TenantId FROM {{traces}} WHERE TraceId != '' GROUP BY TenantId, TraceId;
