import type { Entry } from '../../pipeline/admission.ts'
import { AgentRuns } from '../../pipeline/agent/agent-runs.ts'
import { runsOptions } from '../../pipeline/agent/config.ts'
import type { Receiver } from '../../pipeline/component.ts'
import type { Context } from '../../pipeline/factory.ts'
import { checkExposure } from '../../pipeline/net/loopback.ts'
import type { ToonConfig } from './config.ts'
import { ToonHttp } from './http.ts'

export class ToonReceiver implements Receiver {
  readonly #context: Context
  readonly #check: () => void
  readonly #runs: AgentRuns
  readonly #http: ToonHttp
  #address = ''

  constructor(value: ToonConfig, context: Context, next: Entry) {
    this.#context = context
    this.#check = () =>
      checkExposure({
        component: context.id,
        endpoint: value.endpoint,
        tls: value.tls !== undefined,
        authenticated: next.authenticated === true,
        insecureBind: value.insecure_bind,
      })
    this.#runs = new AgentRuns(context, next, runsOptions(value.runs))
    this.#http = new ToonHttp(value, context, next, this.#runs)
  }

  /** `host:port` as bound. */
  get address(): string {
    return this.#address
  }

  async start(): Promise<void> {
    this.#check()
    this.#address = await this.#http.start()
    this.#runs.start()
    this.#context.log.info({ endpoint: this.#address }, 'listening')
  }

  async refresh(): Promise<void> {
    await this.#http.refresh()
  }

  async stop(deadline: AbortSignal): Promise<void> {
    await this.#http.stop(deadline)
    await this.#runs.stop(deadline)
  }
}
