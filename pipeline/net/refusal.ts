/** A refusal that belongs to HTTP and never reaches the pipeline: wrong route, method, media type, slow body. */
export class Refusal extends Error {
  override readonly name = 'Refusal'
  readonly http: number
  readonly headers: Readonly<Record<string, string>>

  constructor(http: number, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message)
    this.http = http
    this.headers = headers
  }
}
