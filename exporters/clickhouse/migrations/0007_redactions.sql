-- The redaction log: what the sanitizer did to each span, one row per kind and place; never a value.
CREATE OR REPLACE VIEW {{database}}.redactions AS
SELECT
    TenantId, ProjectId, Timestamp, TraceId, SpanId, RunId, AgentName, ServiceName,
    extract(Entry, '^(\\S+) ') AS Type, extract(Entry, '^\\S+ (.*) \\d+$') AS Path, toUInt32OrZero(extract(Entry, ' (\\d+)$')) AS Count,
    SpanAttributes['weir.redaction.hash'] AS OriginalHash
FROM {{traces}}
ARRAY JOIN JSONExtract(SpanAttributes['weir.redaction.paths'], 'Array(String)') AS Entry
WHERE Redactions > 0;
