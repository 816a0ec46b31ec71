import { Refusal } from '../../pipeline/net/refusal.ts'

/** What a request asks for. */
export type Action = 'start' | 'read' | 'append' | 'appendMany' | 'finish' | 'describe'

export interface Route {
  readonly action: Action
  /** As the path has it, decoded; '' where it names none. */
  readonly runId: string
}

const ID = '([^/]+)'

/** Every route (contract section 5). A trailing slash is as good as none. */
const ROUTES: readonly (readonly [method: string, path: RegExp, action: Action])[] = [
  ['POST', /^\/v1\/runs$/, 'start'],
  ['POST', new RegExp(`^/v1/runs/${ID}/(?:events|steps)$`), 'append'],
  ['POST', new RegExp(`^/v1/runs/${ID}/finish$`), 'finish'],
  ['POST', new RegExp(`^/v1/runs/${ID}:finish$`), 'finish'],
  ['GET', new RegExp(`^/v1/runs/${ID}$`), 'read'],
  ['POST', /^\/v1\/events$/, 'appendMany'],
  ['GET', /^\/openapi\.json$/, 'describe'],
  // As the platform before weir had them (seeds/001).
  ['POST', /^\/api\/runs$/, 'start'],
  ['POST', new RegExp(`^/api/runs/${ID}/events$`), 'append'],
  ['POST', new RegExp(`^/api/runs/${ID}/finalize$`), 'finish'],
  ['GET', new RegExp(`^/api/runs/${ID}$`), 'read'],
  ['POST', /^\/api\/trace-events\/batch$/, 'appendMany'],
]

/** Throws a Refusal: 404, 405 with Allow, or 400 for an id that is no text. */
export function routeOf(method: string, url: string): Route {
  const [path = ''] = url.split('?', 1)
  const trimmed = path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path
  const allowed: string[] = []
  for (const [wanted, pattern, action] of ROUTES) {
    const match = pattern.exec(trimmed)
    if (match === null) continue
    if (wanted === method) return { action, runId: decoded(match[1] ?? '') }
    allowed.push(wanted)
  }
  if (allowed.length === 0) throw new Refusal(404, `there is nothing at ${path.slice(0, 200)}`)
  throw new Refusal(405, `${path.slice(0, 200)} takes ${allowed.join(', ')} only`, {
    allow: allowed.join(', '),
  })
}

function decoded(id: string): string {
  try {
    return decodeURIComponent(id)
  } catch {
    throw new Refusal(400, 'the run id in the path is not valid percent-encoded UTF-8')
  }
}
