/** One verb of `weir`: one file in this folder, one line in `main.ts`. */
export interface Verb {
  readonly name: string
  /** One line for `weir --help`. */
  readonly summary: string
  /** The text of `weir <verb> --help`: usage, flags with defaults, examples. */
  readonly help: string
  /** By its first argument, where what it does are several things: the text of `weir <verb> <thing> --help`. */
  readonly helps?: Readonly<Record<string, string>>
  /** Returns the exit code: 0 ok, 1 failed, 2 usage. Throws Fault for an operator's error (printed, exit 1). */
  run(argv: readonly string[], io: Io): Promise<number>
}

export interface Io {
  out(text: string): void
  err(text: string): void
  readonly env: Readonly<Record<string, string | undefined>>
  /** True when stdout is a terminal: colours and progress are allowed. */
  readonly tty: boolean
  /** Where stderr is a terminal: one line that the next one is written over; '' takes it away. */
  readonly progress?: (text: string) => void
}

/** A wrong call of a verb: printed with the verb's usage, exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}
