-- What broke a rule: verdicts on runs are spans of the run's trace, named `validate <name>` (design section 6); what was found at
-- ingestion stands on the span itself, in lists that belong together.
CREATE OR REPLACE VIEW {{database}}.violations AS
SELECT
    TenantId, ProjectId, Timestamp, TraceId, SpanId, ParentSpanId, RunId, AgentName, ServiceName,
    substring(SpanName, 10) AS Validator, SpanAttributes['weir.violation.severity'] AS Severity, SpanAttributes['weir.violation.message'] AS Message,
    SpanAttributes['weir.violation.rule'] AS Rule, SpanAttributes['weir.violation.span_id'] AS ViolatingSpanId, 'run' AS Phase
FROM {{traces}}
WHERE startsWith(SpanName, 'validate ')
UNION ALL
SELECT
    TenantId, ProjectId, Timestamp, TraceId, SpanId, ParentSpanId, RunId, AgentName, ServiceName,
    splitByChar('.', Found.1)[1] AS Validator, Found.2 AS Severity, Found.3 AS Message,
    substring(Found.1, length(Validator) + 2) AS Rule, SpanId AS ViolatingSpanId, 'ingestion' AS Phase
FROM {{traces}}
ARRAY JOIN arrayZip(
    JSONExtract(SpanAttributes['weir.violation.rules'], 'Array(String)') AS Rules,
    arrayResize(JSONExtract(SpanAttributes['weir.violation.severities'], 'Array(String)'), length(Rules)),
    arrayResize(JSONExtract(SpanAttributes['weir.violation.messages'], 'Array(String)'), length(Rules))) AS Found
WHERE Violations > 0 AND NOT startsWith(SpanName, 'validate ');
