import type { StateStore } from '../state/state.ts'
import { fingerprintOf } from './note.ts'
import { linesAfter, readHead, readSegments, readTrimmed } from './reader.ts'
import { publicKeyIn } from './signer.ts'
import {
  checkTrust,
  findingOf,
  START,
  Tampered,
  Walk,
  type Finding,
  type Point,
  type Verdict,
} from './verify.ts'

/**
 * A copy of the log to keep or to hand on, one text per line:
 *   {"weir_audit":1,"log":…,"keys":[base64],"from":{"size","hash","frontier","note"}}   what it begins behind
 *   the entries as they are
 *   {"checkpoint":…}                                                                    signed, of the last entry
 * It is verified without the store that it is from.
 */
export interface Opening {
  readonly weir_audit: 1
  readonly log: string
  /** Public keys, 32 bytes each. */
  readonly keys: readonly string[]
  readonly from: {
    readonly size: number
    readonly hash: string
    readonly frontier: readonly string[]
    readonly note: string
  }
}

export interface Page {
  /** With the first page only. */
  readonly opening?: Opening
  readonly lines: readonly string[]
  /** Number of the last line here; the next page is behind it. */
  readonly last: number
  /** The head's, where this page reaches it; undefined: there is more. */
  readonly checkpoint: string | undefined
}

const PAGE_BYTES = 4 * 1024 * 1024

/** The entries behind `after`; the first page (`after` undefined) begins with the oldest that is there. */
export async function transcriptPage(state: StateStore, after: number | undefined): Promise<Page> {
  const read = await readHead(state)
  const opening = after === undefined ? await openingOf(state, read?.head.log ?? '') : undefined
  let last = after ?? opening?.from.size ?? 0
  const lines: string[] = []
  const page = (checkpoint: string | undefined): Page => ({
    ...(opening && { opening }),
    lines,
    last,
    checkpoint,
  })
  if (read === undefined) return page('')
  let bytes = 0
  for await (const run of linesAfter(state, read.head, last)) {
    for (const line of run.lines) {
      if (bytes >= PAGE_BYTES) return page(undefined)
      lines.push(line)
      bytes += line.length
      last++
    }
  }
  return page(read.head.note)
}

async function openingOf(state: StateStore, log: string): Promise<Opening> {
  const trimmed = await readTrimmed(state)
  const base = (await readSegments(state)).find(({ segment }) => segment === trimmed)
  const key = await publicKeyIn(state)
  const { size, hash, frontier, note } = base ?? { ...START, frontier: [], note: '' }
  return {
    weir_audit: 1,
    log,
    keys: key === undefined ? [] : [key.toString('base64')],
    from: { size, hash, frontier, note },
  }
}

/** Follows a transcript line by line. */
export async function verifyTranscript(
  lines: AsyncIterable<string>,
  against: { readonly trusted?: readonly string[]; readonly anchors?: readonly string[] } = {},
): Promise<Verdict> {
  let walk: Walk | undefined
  let opening: Opening | undefined
  let checkpoint: string | undefined
  let finding: Finding | undefined
  const next = (): number => (walk?.point.size ?? opening?.from.size ?? 0) + 1
  try {
    // One line is held back: the walk wants to know what follows, and the last one is not an entry.
    let held: string | undefined
    for await (const line of lines) {
      if (opening === undefined) {
        opening = parseOpening(line)
        const keys = opening.keys.map((key) => Buffer.from(key, 'base64'))
        checkTrust(keys, against.trusted)
        walk = new Walk(opening.log, { keys, anchors: against.anchors ?? [] }, pointOf(opening))
        if (opening.from.size > 0 && keys.length > 0)
          walk.check(opening.from.note, 'the checkpoint that it begins with')
        continue
      }
      if (held !== undefined) walk?.step(held, line)
      held = line
    }
    checkpoint = checkpointIn(held, next())
    if (opening === undefined || walk === undefined)
      throw new Tampered('truncated', 0, 'there is nothing in it')
    if (opening.keys.length > 0) walk.check(checkpoint, 'the checkpoint at its end')
    walk.end()
  } catch (error) {
    finding = findingOf(error, next())
  }
  const keys = (opening?.keys ?? []).map((key) => fingerprintOf(Buffer.from(key, 'base64')))
  return {
    ok: finding === undefined,
    log: opening?.log ?? '',
    first: (opening?.from.size ?? 0) + 1,
    last: next() - 1,
    keys,
    checkpoint: checkpoint ?? '',
    notes: keys.length > 0 ? [] : ['it is not signed: whoever had it could write it anew'],
    ...(finding && { finding }),
  }
}

function parseOpening(line: string): Opening {
  try {
    const opening = JSON.parse(line) as Opening
    if (opening.weir_audit === 1 && opening.from.size >= 0 && Array.isArray(opening.keys)) return opening
  } catch {
    // Told below.
  }
  throw new Tampered('malformed', 0, 'it does not begin as an export of the audit log')
}

function checkpointIn(line: string | undefined, seq: number): string {
  try {
    const { checkpoint } = JSON.parse(line ?? '') as { checkpoint?: unknown }
    if (typeof checkpoint === 'string') return checkpoint
  } catch {
    // Told below.
  }
  throw new Tampered('truncated', seq, 'it does not end with a checkpoint: its end is not there')
}

function pointOf({ from }: Opening): Point {
  return {
    size: from.size,
    hash: from.hash,
    frontier: from.frontier.map((each) => Buffer.from(each, 'base64')),
  }
}
