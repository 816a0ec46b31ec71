-- A copy of the audit log, to be queried: each entry once, as the line that the hash chain is made of, and its fields. The column is `Tenant`, not
-- `TenantId`: the filter that shows a tenant its own rows then shows it none of these. A block is of one partition, so it is there whole or not at all.
CREATE TABLE IF NOT EXISTS {{database}}.audit_log (
    Log LowCardinality(String) CODEC(ZSTD(1)),
    Seq UInt64 CODEC(Delta(8), ZSTD(1)),
    Line String CODEC(ZSTD(3)),
    Time DateTime64(3, 'UTC') DEFAULT parseDateTime64BestEffort(JSONExtractString(Line, 'time'), 3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    Actor String DEFAULT JSONExtractString(Line, 'actor', 'id') CODEC(ZSTD(1)),
    ActorKind LowCardinality(String) DEFAULT JSONExtractString(Line, 'actor', 'kind') CODEC(ZSTD(1)),
    Action LowCardinality(String) DEFAULT JSONExtractString(Line, 'action') CODEC(ZSTD(1)),
    Object String DEFAULT JSONExtractString(Line, 'object') CODEC(ZSTD(1)),
    Tenant LowCardinality(String) DEFAULT JSONExtractString(Line, 'tenant') CODEC(ZSTD(1)),
    Outcome LowCardinality(String) DEFAULT JSONExtractString(Line, 'outcome') CODEC(ZSTD(1)),
    Address String DEFAULT JSONExtractString(Line, 'address') CODEC(ZSTD(1)),
    UserAgent String DEFAULT JSONExtractString(Line, 'user_agent') CODEC(ZSTD(1)),
    LegalBasis LowCardinality(String) DEFAULT JSONExtractString(Line, 'legal_basis') CODEC(ZSTD(1)),
    Details String DEFAULT JSONExtractRaw(Line, 'details') CODEC(ZSTD(1))
) ENGINE = MergeTree PARTITION BY toYYYYMM(Time) ORDER BY (Log, Seq)
SETTINGS non_replicated_deduplication_window = 1000;
