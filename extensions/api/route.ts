import type { z } from 'zod'
import type { AuditDetails } from '../../pipeline/audit/audit.ts'
import { checked } from '../../pipeline/input/issues.ts'
import type { Principal } from './principal.ts'

export interface Call {
  readonly principal: Principal
  /** What stands for the `{names}` in the route's path. */
  readonly params: Readonly<Record<string, string>>
  readonly query: URLSearchParams
  readonly body: unknown
  /** Aborts when the caller is gone or the server stops. */
  readonly signal: AbortSignal
}

export interface Reply {
  readonly status: number
  readonly body: unknown
  /** What the audit log should know besides who asked what. */
  readonly audit?: Noted
}

/** Absent fields are those of the path. */
export interface Noted {
  readonly object?: string
  readonly tenant?: string
  readonly legalBasis?: string
  readonly details?: AuditDetails
}

export type Method = 'GET' | 'POST' | 'PATCH' | 'DELETE'

/** Denied by default: what is not in the table is not there, and every entry names the role it needs. */
export interface Route {
  readonly method: Method
  /** `/v1/keys/{key}`: a name in braces stands for one segment. */
  readonly path: string
  readonly role: 'read' | 'admin'
  /** `daemon`: not for the admin of one tenant only. */
  readonly scope: 'daemon' | 'tenant'
  /**
   * Under which name calls are in the audit log (`key.create`); absent: `api.<method>` and the path. `reads`: it changes
   * nothing, whatever its method (default: GET does not). `false`: it tells and changes nothing of anybody's.
   */
  readonly audit?: false | { readonly action: string; readonly reads?: boolean }
  handle(call: Call): Promise<Reply>
}

export function ok(body: unknown, audit?: Noted): Reply {
  return audit === undefined ? { status: 200, body } : { status: 200, body, audit }
}

/** The names' values where `path` is one of the route's; undefined where it is not. */
export function paramsOf(route: Route, path: string): Record<string, string> | undefined {
  const wanted = route.path.split('/')
  const given = path.split('/')
  if (wanted.length !== given.length) return undefined
  const params: Record<string, string> = {}
  for (const [at, segment] of wanted.entries()) {
    const value = given[at] ?? ''
    const name = /^\{(\w+)\}$/.exec(segment)?.[1]
    if (name === undefined) {
      if (segment !== value) return undefined
      continue
    }
    const decoded = decodedSegment(value)
    if (decoded === undefined || decoded === '') return undefined
    params[name] = decoded
  }
  return params
}

function decodedSegment(segment: string): string | undefined {
  try {
    return decodeURIComponent(segment)
  } catch {
    return undefined
  }
}

/** The body, or the query, as `schema` has it; REQUEST_INVALID names the field. */
export function bodyOf<S extends z.ZodType>(schema: S, body: unknown): z.output<S> {
  return checked(schema, body ?? {})
}
