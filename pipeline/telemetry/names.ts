/**
 * Every metric weir has: the only names a Meter accepts, and the source of docs/metrics.md. Names are promises
 * (contract section 7). The `otelcol_` ones are the collector's own, as its default Prometheus reader writes them
 * (`without_type_suffix`, `without_units`: no `_total`), so that its dashboards and alerts work unchanged.
 */
export interface MetricInfo {
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly help: string
  /** UCUM as the collector writes it: `{span}`, `By`, `s`, `1`. */
  readonly unit: string
  /** All labels that may be given; an absent one is left out. */
  readonly labels: readonly string[]
  /** Upper bounds of a histogram. */
  readonly buckets?: readonly number[]
}

function counter(help: string, unit: string, labels: readonly string[] = []): MetricInfo {
  return { type: 'counter', help, unit, labels }
}

function gauge(help: string, unit: string, labels: readonly string[] = []): MetricInfo {
  return { type: 'gauge', help, unit, labels }
}

function histogram(
  help: string,
  unit: string,
  labels: readonly string[],
  buckets: readonly number[],
): MetricInfo {
  return { type: 'histogram', help, unit, labels, buckets }
}

const FAST_S = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
const SLOW_S = [0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 21_600]
const SPANS = [1, 8, 32, 128, 512, 1024, 2048, 4096, 8192, 16_384, 65_536]

const RECEIVER = ['receiver', 'transport']
const PROCESSOR = ['processor', 'otel_signal']
const EXPORTER = ['exporter']
const CURSOR = ['pipeline', 'exporter']

export const METRICS = {
  otelcol_receiver_accepted_spans: counter('Spans taken into the pipeline.', '{span}', RECEIVER),
  otelcol_receiver_refused_spans: counter(
    'Spans that the pipeline refused, retryable or final.',
    '{span}',
    RECEIVER,
  ),
  otelcol_receiver_failed_spans: counter('Spans lost to an error inside weir.', '{span}', RECEIVER),
  otelcol_receiver_requests: counter('Requests by outcome: success, refused, failure.', '{request}', [
    ...RECEIVER,
    'outcome',
  ]),
  weir_receiver_refused_requests: counter(
    'Requests that the receiver refused itself; those that the pipeline refused are in `otelcol_receiver_requests`.',
    '{request}',
    [...RECEIVER, 'reason'],
  ),
  otelcol_processor_incoming_items: counter('Spans that entered the processor.', '{item}', PROCESSOR),
  otelcol_processor_outgoing_items: counter('Spans that left the processor.', '{item}', PROCESSOR),
  otelcol_processor_internal_duration: histogram('Time in the processor per batch.', 's', PROCESSOR, FAST_S),
  otelcol_processor_tail_sampling_count_traces_sampled: counter('Traces that a policy judged.', '{trace}', [
    'processor',
    'policy',
    'sampled',
    'decision',
  ]),
  otelcol_processor_tail_sampling_count_spans_sampled: counter(
    'Spans of the traces that a policy judged.',
    '{span}',
    ['processor', 'policy', 'sampled', 'decision'],
  ),
  otelcol_processor_tail_sampling_global_count_traces_sampled: counter(
    'Traces that were judged: sampled, not_sampled, or dropped.',
    '{trace}',
    ['processor', 'sampled', 'decision'],
  ),
  otelcol_processor_tail_sampling_new_trace_id_received: counter('Traces that began.', '{trace}', [
    'processor',
  ]),
  otelcol_processor_tail_sampling_early_releases_from_cache_decision: counter(
    'Spans of traces that were judged before.',
    '{span}',
    ['processor', 'sampled'],
  ),
  otelcol_processor_tail_sampling_sampling_trace_dropped_too_early: counter(
    'Traces that were judged before their time, for want of memory.',
    '{trace}',
    ['processor'],
  ),
  otelcol_processor_tail_sampling_sampling_traces_on_memory: gauge(
    'Traces that are not judged yet.',
    '{trace}',
    ['processor'],
  ),
  weir_tail_sampling_pending_bytes: gauge('Memory of the traces that are not judged yet.', 'By', [
    'processor',
  ]),
  weir_tail_sampling_late_violations: counter(
    'Violations that were found after their trace was left out.',
    '{span}',
    ['processor'],
  ),
  weir_tail_sampling_forgotten_spans: counter(
    'Spans that were kept as the decision on their trace is not remembered.',
    '{span}',
    ['processor'],
  ),
  otelcol_exporter_sent_spans: counter('Spans that the destination holds.', '{span}', EXPORTER),
  otelcol_exporter_send_failed_spans: counter(
    'Spans that the destination will never take.',
    '{span}',
    EXPORTER,
  ),
  otelcol_exporter_queue_size: gauge(
    'Spans in the WAL that the exporter has not passed yet.',
    '{span}',
    EXPORTER,
  ),
  otelcol_exporter_queue_capacity: gauge('Bytes that the WAL may hold for the exporter.', 'By', EXPORTER),
  otelcol_exporter_in_flight_requests: gauge('Deliveries under way.', '{request}', EXPORTER),
  otelcol_exporter_queue_batch_send_size: histogram('Spans per delivery.', '{span}', EXPORTER, SPANS),
  otelcol_process_cpu_seconds: counter('CPU time, user and system.', 's', ['process']),
  otelcol_process_memory_rss: gauge('Resident set size.', 'By', ['process']),
  otelcol_process_uptime: counter('Time since the process started.', 's', ['process']),
  otelcol_process_runtime_heap_alloc_bytes: gauge('V8 heap in use.', 'By', ['process']),
  otelcol_process_runtime_total_alloc_bytes: gauge('Bytes allocated outside the V8 heap.', 'By', ['process']),
  otelcol_process_runtime_total_sys_memory_bytes: gauge('V8 heap reserved from the system.', 'By', [
    'process',
  ]),

  weir_build_info: gauge('Always 1; the version in a label.', '1', ['version']),
  weir_event_loop_lag_seconds: gauge('p99 delay of the event loop since the last sample.', 's', ['process']),
  weir_durability_mode: gauge('1 for the mode that an acknowledgement has: process or strict.', '1', [
    'connector',
    'mode',
  ]),
  weir_wal_messages: gauge('Messages stored in the WAL.', '{message}', ['connector']),
  weir_wal_bytes: gauge('Bytes stored in the WAL.', 'By', ['connector']),
  weir_wal_max_bytes: gauge('Bytes that the WAL may hold.', 'By', ['connector']),
  weir_wal_oldest_age_seconds: gauge('Age of the oldest message in the WAL.', 's', ['connector']),
  weir_wal_ack_duration_seconds: histogram(
    'From a batch entering the WAL until it is durable.',
    's',
    ['connector'],
    FAST_S,
  ),
  weir_wal_append_errors: counter('Writes that the WAL did not confirm.', '{write}', ['connector', 'code']),
  weir_wal_trimmed_messages: counter('Messages deleted by the trimmer.', '{message}', ['connector']),
  weir_wal_missing_messages: counter(
    'Messages that the log no longer had when the cursor came to them: lost, or deleted by somebody.',
    '{message}',
    CURSOR,
  ),
  weir_wal_lag_spans: gauge('Spans that the cursor has not passed yet.', '{span}', CURSOR),
  weir_wal_lag_bytes: gauge('Bytes that the cursor has not passed yet.', 'By', CURSOR),
  weir_wal_lag_seconds: gauge('Age of the oldest message that the cursor has not passed yet.', 's', CURSOR),
  weir_cursor_position: gauge('WAL sequence that the cursor has passed.', '1', CURSOR),
  weir_cursor_held: gauge('1 when this daemon drives the cursor.', '1', CURSOR),
  weir_ledger_spans: gauge('The ledger of a cursor: spans passed, by what became of them.', '{span}', [
    ...CURSOR,
    'outcome',
  ]),
  weir_accounting_imbalance_spans: gauge(
    'Spans passed minus all their outcomes; anything but 0 is a bug.',
    '{span}',
    CURSOR,
  ),
  weir_duplicate_spans: counter('Spans left out because they were stored before.', '{span}', CURSOR),
  weir_rechecked_spans: counter(
    'Spans that a destination which does not sync was asked about some time after it took them: held, or restored from the WAL.',
    '{span}',
    [...CURSOR, 'outcome'],
  ),
  weir_dropped_spans: counter('Spans left out, by reason.', '{span}', ['reason', 'component']),
  weir_clickhouse_endpoint_up: gauge(
    'Several `endpoints`: 1 while the address works, 0 from when it failed.',
    '1',
    ['exporter', 'endpoint'],
  ),
  weir_dead_letter_spans: counter('Spans moved to the dead letters.', '{span}', ['component']),
  weir_dead_letters: gauge('Dead letters that are held.', '{letter}', ['connector']),
  weir_dead_letter_bytes: gauge('Bytes of dead letters that are held.', 'By', ['connector']),
  weir_dead_letter_max_bytes: gauge('Bytes of dead letters that may be held.', 'By', ['connector']),
  weir_dead_letter_oldest_age_seconds: gauge('Age of the oldest dead letter.', 's', ['connector']),
  weir_export_retries: counter('Deliveries that will be repeated.', '{delivery}', ['exporter', 'code']),
  weir_end_to_end_seconds: histogram('From received to stored, per batch.', 's', EXPORTER, SLOW_S),
  weir_intake_bytes: gauge('Bytes of request bodies in flight.', 'By'),
  weir_http_requests: counter('Requests by route and status.', '{request}', ['route', 'status']),
  weir_idempotency_keys_forgotten: counter(
    'Idempotency keys that left before their time, as their tenant has too many.',
    '{key}',
    [],
  ),
  weir_jsonl_open_files: gauge('Files that the receiver has open.', '{file}', ['receiver']),
  weir_jsonl_backlog_bytes: gauge('Bytes of open files that are not read yet.', 'By', ['receiver']),
  weir_jsonl_unreadable_lines: counter('Lines moved to the dead letters.', '{line}', ['receiver']),
  weir_jsonl_rotations: counter('Files that were renamed, truncated, or are gone.', '{file}', [
    'receiver',
    'kind',
  ]),
  weir_jsonl_refused_files: counter('Files that match and are not read, by reason.', '{file}', [
    'receiver',
    'reason',
  ]),
  weir_file_bytes: gauge('Bytes of the file that is written to.', 'By', EXPORTER),
  weir_file_rotations: counter('Files that were put aside.', '{file}', EXPORTER),
  weir_s3_objects: counter('Objects written, manifests left out.', '{object}', EXPORTER),
  weir_s3_bytes: counter('Bytes of the objects written.', 'By', EXPORTER),
  weir_cloudwatch_bytes: counter('Bytes of log events that were taken, as AWS bills them.', 'By', EXPORTER),
  weir_artifacts: counter('Values moved out of their spans.', '{value}', ['processor']),
  weir_artifact_bytes: counter('Bytes of the values moved out of their spans.', 'By', ['processor']),
  weir_artifact_puts: counter('Artifacts written; of what is there already, none.', '{artifact}', [
    'processor',
  ]),
  weir_redactions: counter('Values masked.', '{value}', ['type']),
  weir_violations: counter('Rules that a span broke.', '{violation}', ['validator', 'severity']),
  weir_validated_runs: counter('Runs judged after their end, by outcome.', '{run}', ['outcome']),
  weir_validation_seconds: histogram('Time to judge one run, its reading included.', 's', [], FAST_S),
  weir_replay_cached_calls: counter(
    'Model and tool calls whose answers were to be kept for replays: kept, too_large.',
    '{call}',
    ['outcome'],
  ),
  weir_auth: counter('Decisions about senders.', '{request}', ['method', 'outcome']),
  weir_audit_entries: counter('Entries written to the audit log.', '{entry}', ['outcome']),
  weir_audit_failures: counter(
    'Entries that could not be written to the audit log; what they stood for was refused, or let pass where when_unavailable says so.',
    '{entry}',
  ),
  weir_audit_copy_lag: gauge(
    'Entries of the audit log that its ClickHouse copy does not have yet.',
    '{entry}',
  ),
  weir_audit_append_duration_seconds: histogram(
    'Time until a group of entries was durable in the audit log.',
    's',
    [],
    FAST_S,
  ),
  weir_rate_limited: counter('Requests refused by limits, by the limit that was reached.', '{request}', [
    'limit',
    'tenant',
  ]),
  weir_limit_rejected_spans: counter('Spans over a size or count limit.', '{span}', ['limit', 'tenant']),
  weir_cost_usd: counter('Cost of the model calls seen.', 'USD', ['provider', 'model']),
  weir_tokens: counter('Tokens of the model calls seen.', '{token}', ['provider', 'model', 'bucket']),
  weir_unpriced_spans: counter('Model calls without a price.', '{span}', ['reason', 'provider', 'model']),
  weir_retention_overdue: gauge('Items past their retention that still exist.', '1', ['store']),
  weir_job_runs: counter('Runs of a job.', '{run}', ['job', 'outcome']),
  weir_job_duration_seconds: histogram('Duration of a job.', 's', ['job'], SLOW_S),
  weir_job_last_success: gauge('Unix time of the last good run.', 's', ['job']),
  weir_replay_spans: counter('Spans that replays were asked for, by what became of them.', '{span}', [
    'outcome',
  ]),
  weir_health_score: gauge('1 healthy, 0.5 degraded, 0 failed.', '1', ['component']),
  weir_store_process_restarts: counter('Restarts of the store process.', '{restart}'),
  weir_config_reloads: counter('Reloads by outcome.', '{reload}', ['outcome']),
} as const satisfies Readonly<Record<string, MetricInfo>>

type MetricName = keyof typeof METRICS

/** What is known of `name`, or undefined when it is not in the catalogue. */
export function metricInfo(name: string): MetricInfo | undefined {
  return Object.hasOwn(METRICS, name) ? METRICS[name as MetricName] : undefined
}
