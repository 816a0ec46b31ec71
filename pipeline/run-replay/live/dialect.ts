import type { LlmRequest } from '../../runs/steps.ts'

/** What a provider's HTTP API wants and says. */
export interface Dialect {
  /** Behind the endpoint's URL. */
  readonly path: string
  headers(key: string | undefined): Readonly<Record<string, string>>
  bodyOf(asked: Asked): unknown
  /** Undefined for what is not an answer. */
  toldOf(body: unknown): Told | undefined
}

export interface Asked {
  readonly request: LlmRequest
  readonly model: string
  /** Those of the request, and the run's where it has none; names as OTel has them. */
  readonly params: Readonly<Record<string, unknown>>
}

export interface Told {
  /** The message, as the provider wrote it. */
  readonly value: unknown
  readonly tokensIn: number
  readonly tokensOut: number
}
