import type { z } from 'zod'
import type { Entry } from '../../pipeline/admission.ts'
import type { Receiver } from '../../pipeline/component.ts'
import type { Context } from '../../pipeline/factory.ts'
import { checkExposure } from '../../pipeline/net/loopback.ts'
import type { config } from './config.ts'
import { GrpcProtocol } from './grpc.ts'
import { HttpProtocol } from './http.ts'

/** One of the receiver's servers. */
export interface Protocol {
  /** Resolves with the address as bound. */
  start(): Promise<string>
  stop(deadline: AbortSignal): Promise<void>
  /** Reads the certificates again, for new connections. */
  refresh(): Promise<void>
}

export class OtlpReceiver implements Receiver {
  readonly #context: Context
  readonly #check: () => void
  readonly #protocols: ReadonlyMap<string, Protocol>
  readonly #addresses = new Map<string, string>()

  constructor(value: z.output<typeof config>, context: Context, next: Entry) {
    const { grpc, http } = value.protocols
    this.#context = context
    this.#check = () => {
      for (const protocol of [grpc, http]) {
        if (!protocol) continue
        const { endpoint, tls, insecure_bind: insecureBind } = protocol
        const authenticated = next.authenticated === true
        checkExposure({
          component: context.id,
          endpoint,
          tls: tls !== undefined,
          authenticated,
          insecureBind,
        })
      }
    }
    const protocols = new Map<string, Protocol>()
    if (grpc) protocols.set('grpc', new GrpcProtocol(grpc, context, next))
    if (http) protocols.set('http', new HttpProtocol(http, context, next))
    this.#protocols = protocols
  }

  /** Protocol → `host:port` as bound. */
  get addresses(): ReadonlyMap<string, string> {
    return this.#addresses
  }

  async start(): Promise<void> {
    this.#check()
    try {
      for (const [name, protocol] of this.#protocols) {
        const address = await protocol.start()
        this.#addresses.set(name, address)
        this.#context.log.info({ protocol: name, endpoint: address }, 'listening')
      }
    } catch (error) {
      await this.stop(AbortSignal.abort())
      throw error
    }
  }

  async refresh(): Promise<void> {
    await Promise.all([...this.#protocols.values()].map((protocol) => protocol.refresh()))
  }

  async stop(deadline: AbortSignal): Promise<void> {
    await Promise.all([...this.#protocols.values()].map((protocol) => protocol.stop(deadline)))
    this.#addresses.clear()
  }
}
