import { Refusal } from '../../pipeline/net/refusal.ts'

/** A body that does not have its form; 422. */
export class Invalid extends Refusal {
  override readonly name = 'Invalid'
  readonly errors: readonly { readonly field: string; readonly message: string }[]

  constructor(errors: readonly { readonly field: string; readonly message: string }[]) {
    const [first] = errors
    const at = first?.field ? `${first.field}: ` : ''
    super(422, `${at}${first?.message ?? 'the body does not have its form'}`)
    this.errors = errors.slice(0, 20)
  }
}
