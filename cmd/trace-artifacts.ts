import { ARTIFACT } from '../pipeline/artifact.ts'
import { safeText } from '../pipeline/telemetry/safe-text.ts'
import { clip } from './table.ts'

const PREVIEW_CHARS = 120

/** `[[key, ref, size, media type, preview], …]` of the artifacts of a span and its events, as JSON. */
export const ARTIFACTS_SQL = `toJSONString(arrayFlatten(arrayMap(m -> arrayMap(k -> (k, m[concat(k, '${ARTIFACT.ref}')],
    m[concat(k, '${ARTIFACT.size}')], m[concat(k, '${ARTIFACT.mediaType}')], substringUTF8(m[k], 1, ${PREVIEW_CHARS})),
    arrayMap(k -> substring(k, 1, length(k) - ${ARTIFACT.ref.length}), arrayFilter(k -> endsWith(k, '${ARTIFACT.ref}'), mapKeys(m)))),
    arrayConcat([SpanAttributes], Events.Attributes))))`

interface ShownArtifact {
  readonly key: string
  readonly ref: string
  readonly size: number
  readonly mediaType: string
  readonly preview: string
}

export function artifactsOf(json: string): readonly ShownArtifact[] {
  const found = JSON.parse(json) as readonly (readonly string[])[]
  return found.map(([key = '', ref = '', size = '', mediaType = '', preview = '']) => {
    return { key, ref, size: Number(size), mediaType, preview }
  })
}

/** Two lines per artifact: what it is, and how it begins. */
export function artifactLines(json: string, indent: string): readonly string[] {
  return artifactsOf(json).flatMap(({ key, ref, size, mediaType, preview }) => [
    `${indent}⇲ ${safeText([key, sizeText(size), mediaType.split(';')[0] ?? '', ref].join('  '))}`,
    `${indent}  ${clip(safeText(preview), PREVIEW_CHARS)}`,
  ])
}

function sizeText(bytes: number): string {
  if (!Number.isFinite(bytes)) return ''
  return bytes < 1024 * 1024 ? `${(bytes / 1024).toFixed(0)} KiB` : `${(bytes / 1024 / 1024).toFixed(1)} MiB`
}
