/** Spans at rest outside of the WAL, to be read again: what exporters that archive offer to a replay. */
export interface Archive {
  /** Objects that may hold spans of the scope, by `position`. Faults as the exporter's own, with the remedy. */
  list(scope: ArchiveScope, signal: AbortSignal): AsyncIterable<ArchivedObject>
  /** What is in the object, as it is stored: see `requestsIn`. */
  open(object: ArchivedObject, signal: AbortSignal): AsyncIterable<Uint8Array>
  /** Ranges of the WAL that are in it as a whole, where it knows them. */
  ranges?(signal: AbortSignal): AsyncIterable<ArchivedRange>
}

export interface ArchiveScope {
  /** Spans that started in [fromMs, toMs); others may be there, too. */
  readonly fromMs: number
  readonly toMs: number
  readonly tenant?: string | undefined
  /** Only objects behind this position. */
  readonly after?: string | undefined
  /** Where in the archive, instead of where the exporter writes. */
  readonly prefix?: string | undefined
}

/** A delivery's place in the WAL: from which cursor, first and last sequence. */
export interface ArchivedRange {
  readonly cursor: string
  readonly from: number
  readonly to: number
}

export interface ArchivedObject {
  /** For people. */
  readonly name: string
  /** Orders the objects of an archive: later ones sort behind. */
  readonly position: string
  readonly bytes: number
  /** Whose spans they are, where the archive says so. */
  readonly tenant?: string | undefined
  readonly range?: ArchivedRange | undefined
  /** Of the bytes as stored, hexadecimal. */
  readonly sha256?: string | undefined
}
