/** What a load run does; crosses to the generator process as JSON. */
export interface LoadPlan {
  readonly protocol: 'grpc' | 'http' | 'toon'
  /** `host:port` of the OTLP or the toon receiver. */
  readonly endpoint: string
  readonly spansPerRequest: number
  /** Distinct pre-encoded payloads; each send gets trace ids of its own, so none is a duplicate, and times of now. */
  readonly distinct: number
  readonly connections: number
  /** Requests under way at once over all connections. */
  readonly inFlight: number
  /** Offered spans/s; undefined: as fast as answers come. */
  readonly spansPerSecond?: number
  readonly warmupMs: number
  readonly durationMs: number
}

export interface LoadResult {
  /** Spans acknowledged within the measured time. */
  readonly ackedSpans: number
  readonly seconds: number
  readonly ackedSpansPerSecond: number
  readonly refusedRequests: number
  readonly failedRequests: number
  readonly ackP50Ms: number
  readonly ackP99Ms: number
  /** CPU seconds of the generator itself, per million acked spans. */
  readonly clientCpuSecondsPerMillion: number
  /** All spans acknowledged since the start, warm-up included: what must be stored in the end. */
  readonly ackedSpansTotal: number
  readonly firstError: string
}
