import type { Window } from './windows.ts'

/** What detectors find: a range of UTF-16 units of the text. */
export interface Finding {
  readonly start: number
  readonly end: number
  readonly type: string
}

/** A text as the detectors get it. */
export interface Subject {
  readonly text: string
  /** The name that the text stands under, in lower case: as good as a word before it. */
  readonly key: string
  /** What the prefilter saw: FEATURE bits. */
  readonly features: number
  /** Where digits are, if `features` has them. */
  readonly windows: readonly Window[]
  /** The keywords in it (`Keywords.words`). */
  readonly words: readonly number[]
}

/** Finds its kind of data. `find` takes time linear in the text. */
export interface Detector {
  /** As config and metrics name it. */
  readonly type: string
  /** Skipped when the text has none of these FEATURE bits. */
  readonly needs: number
  find(subject: Subject, found: Finding[]): void
}
