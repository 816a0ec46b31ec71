import type { TelemetryConfig } from '../config.ts'
import type { Listeners } from '../net/listeners.ts'
import { serveMetrics, type MetricsServer } from '../telemetry/metrics-server.ts'

/** The `/metrics` servers that the config wants now. */
export class MetricsEndpoints {
  readonly #listeners: Listeners
  readonly #render: () => Promise<string>
  readonly #servers = new Map<string, MetricsServer>()

  constructor(listeners: Listeners, render: () => Promise<string>) {
    this.#listeners = listeners
    this.#render = render
  }

  /** Starts what is new, then stops what is gone; throws when one cannot start, with the old ones still there. */
  async change({ endpoints, insecureBind }: TelemetryConfig['metrics']): Promise<void> {
    for (const endpoint of endpoints) {
      if (this.#servers.has(endpoint)) continue
      const options = { insecureBind: insecureBind.includes(endpoint) }
      this.#servers.set(endpoint, await serveMetrics(endpoint, this.#listeners, this.#render, options))
    }
    await this.#stop([...this.#servers.keys()].filter((endpoint) => !endpoints.includes(endpoint)))
  }

  stop(): Promise<void> {
    return this.#stop([...this.#servers.keys()])
  }

  async #stop(endpoints: readonly string[]): Promise<void> {
    const servers = endpoints.flatMap((endpoint) => this.#servers.get(endpoint) ?? [])
    for (const endpoint of endpoints) this.#servers.delete(endpoint)
    await Promise.all(servers.map((server) => server.stop()))
  }
}
