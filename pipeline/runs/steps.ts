/** What an agent's run did, step by step, whatever convention its spans were written in. Plain data: it can be sent as JSON. */
export interface RunSteps {
  readonly tenant: string
  readonly project: string
  /** As it was asked for by its sender; a trace without a run id is a run of its own, named by the trace. */
  readonly runId: string
  readonly traceId: string
  readonly agent: string
  /** `running`, `completed`, `failed` or `abandoned`, as in the view `agent_runs`. */
  readonly status: string
  /** What the run was started with, of its root span: `agent.run.*`, `gen_ai.request.*`, as texts. */
  readonly settings: Readonly<Record<string, string>>
  readonly startedNs: string
  readonly durationMs: number
  /** In order: by number where all have one (toon), else by start. */
  readonly steps: readonly Step[]
  /** What the run came to: its final output, else its root span's output, else its last answer of a model. */
  readonly output: RunOutput | undefined
  readonly tokensIn: number
  readonly tokensOut: number
  /** Decimal text. */
  readonly costUsd: string
  readonly unpriced: number
  /** Rows or bytes were over the limit: the later part of the run is missing. */
  readonly truncated: boolean
}

/**
 * `llm`: one call of a model. `tool`: one call of a tool. `reasoning`: a thought that no model was named for.
 * `output`: what the agent handed over. `error`: what it reported.
 */
export type StepKind = 'llm' | 'tool' | 'reasoning' | 'output' | 'error'

export interface Step {
  readonly kind: StepKind
  /** The model, the tool, the type of the error; '' for others. */
  readonly name: string
  /** `chat`, `embeddings`, `execute_tool`, … */
  readonly operation: string
  readonly spanId: string
  /** Of a tool call whose request was a span of its own (toon). */
  readonly requestSpanId?: string
  readonly seq?: number
  /** `weir.replay.key` of the span that asked: the keyed hash of the request as it was before redaction. */
  readonly replayKey?: string
  /** The model's request, the tool's arguments. Absent: not recorded. */
  readonly input?: Recorded
  /** The answer, the result, the text. */
  readonly output?: Recorded
  readonly status: 'ok' | 'error' | 'unset'
  readonly error?: string
  readonly finishReason?: string
  readonly startNs: string
  readonly durationMs: number
  readonly tokensIn: number
  readonly tokensOut: number
  /** Decimal text. */
  readonly costUsd: string
  readonly costStatus: string
}

export interface RunOutput extends Recorded {
  readonly from: 'output' | 'root' | 'llm'
}

/** A value as it is stored, that is, after redaction. Of a model's request: `LlmRequest`. */
export interface Recorded {
  readonly value: unknown
  /** Keyed hash over what was taken out of its span: equal hashes had equal originals. Of one tenant only. */
  readonly redactionHash?: string
  /** It, or some of it, was moved out of its span as an artifact: what stands here is its beginning, as text. */
  readonly moved?: true
}

/** A model's request in one form. `messages`: as recorded, in the convention of who recorded it. */
export interface LlmRequest {
  readonly provider: string
  readonly model: string
  readonly system?: unknown
  readonly messages?: unknown
  readonly tools?: unknown
  /** temperature, top_p, max_tokens, seed, … */
  readonly params: Readonly<Record<string, unknown>>
}
