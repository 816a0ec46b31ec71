/** The effective configuration: what `config/` loads and `build.ts` wires. Plain data; `raw` crosses to the store process as JSON. */
export interface Config {
  readonly receivers: ReadonlyMap<string, ComponentConfig>
  readonly processors: ReadonlyMap<string, ComponentConfig>
  readonly exporters: ReadonlyMap<string, ComponentConfig>
  readonly connectors: ReadonlyMap<string, ComponentConfig>
  readonly extensions: ReadonlyMap<string, ComponentConfig>
  readonly jobs: ReadonlyMap<string, ComponentConfig>
  readonly service: ServiceConfig
  /** The merged, expanded document before schemas and defaults: secrets in clear, never printed. */
  readonly raw: unknown
  /** SHA-256 (hex) of `raw` as canonical JSON. */
  readonly digest: string
}

export interface ComponentConfig {
  /** As written, `type` or `type/name`. */
  readonly id: string
  /** The factory's type: aliases are resolved. */
  readonly type: string
  /** Validated, with defaults. */
  readonly value: unknown
  /** Canonical JSON of the input: equal text means an unchanged component (reload keeps it). */
  readonly key: string
}

export interface PipelineConfig {
  /** `traces` or `traces/name`. */
  readonly id: string
  readonly signal: 'traces'
  readonly receivers: readonly string[]
  readonly processors: readonly string[]
  readonly exporters: readonly string[]
}

export interface ServiceConfig {
  readonly extensions: readonly string[]
  /** Ids of the jobs that run by their schedules. */
  readonly jobs: readonly string[]
  readonly pipelines: ReadonlyMap<string, PipelineConfig>
  readonly shutdownTimeoutMs: number
  readonly telemetry: TelemetryConfig
}

export interface TelemetryConfig {
  readonly logs: {
    readonly level: 'debug' | 'info' | 'warn' | 'error'
    readonly encoding: 'console' | 'json'
  }
  readonly metrics: {
    readonly level: 'none' | 'basic' | 'normal' | 'detailed'
    /** Prometheus endpoints, `host:port`; default 127.0.0.1:8888. */
    readonly endpoints: readonly string[]
    /** Those of them that may be reached from other machines though nothing protects them. */
    readonly insecureBind: readonly string[]
  }
  /** OTLP gRPC endpoint for weir's own spans; undefined: off. */
  readonly traces: { readonly endpoint: string; readonly insecure: boolean } | undefined
  /** `service.telemetry.resource`: added to weir's own telemetry. */
  readonly resource: Readonly<Record<string, string>>
}
