import * as column from './columns'
import * as field from '../../../proto/otlp/assembly/table'
import { Request } from './request'

/* Resources and scopes: those of a request are written for the first of their spans, whose neighbours point to them. */

let serviceKey: i32 = 0
let lastResource: i32 = -1
let lastScope: i32 = -1
let resourceCount: u32 = 0
let scopeCount: u32 = 0
let service: u32 = 0
/* What they take in the block for each of their spans, in bytes. */
let resourceBytes: u32 = 0
let scopeBytes: u32 = 0
let written: u64 = 0

export function setServiceKey(key: i32): void {
  serviceKey = key
}

/** Before a new filling of the block. */
export function clearOwners(): void {
  forgetOwners()
  resourceCount = 0
  scopeCount = 0
  written = 0
}

/** Before another request. */
export function forgetOwners(): void {
  lastResource = -1
  lastScope = -1
}

/** Bytes that they will take in the block, once for each of their spans. */
export function ownersBytes(): u64 {
  return written
}

/** Of the next row. */
export function addOwners(request: Request, scope: i32): void {
  if (scope !== lastScope) addScope(request, scope)
  column.services.addIndex(service)
  column.resourceRows.u32(resourceCount - 1)
  column.scopeRows.u32(scopeCount - 1)
  written += resourceBytes + scopeBytes
}

function addScope(request: Request, index: i32): void {
  const scope = request.scopes + <usize>index * field.SCOPE_WIDTH
  const names = column.scopeNames
  const versions = column.scopeVersions
  const before = names.length + versions.length
  names.string(request.bytes + load<i32>(scope, field.SCOPE_NAME_OFF), load<u32>(scope, field.SCOPE_NAME_LEN))
  const version = request.bytes + load<i32>(scope, field.SCOPE_VERSION_OFF)
  versions.string(version, load<u32>(scope, field.SCOPE_VERSION_LEN))
  scopeBytes = names.length + versions.length - before
  scopeCount++
  lastScope = index
  const resource = load<i32>(scope, field.SCOPE_RESOURCE)
  if (resource !== lastResource) addResource(request, resource)
}

function addResource(request: Request, index: i32): void {
  const resource = request.resources + <usize>index * field.RESOURCE_WIDTH
  const end = load<i32>(resource, field.RESOURCE_END_ATTR)
  const begin = load<i32>(resource, field.RESOURCE_FIRST_ATTR)
  const values = column.resources.values
  const before = values.length
  let found = false
  for (let ref = begin; ref < end; ref++) {
    const from = values.length
    column.resources.add(request, ref)
    const key = load<i32>(request.attrs + <usize>ref * field.ATTR_WIDTH, field.ATTR_KEY)
    if (key !== serviceKey) continue
    service = serviceIndex(values.start + from, values.end)
    found = true
  }
  if (!found) service = column.services.name('')
  column.resources.endRow(end - begin)
  resourceBytes = values.length - before
  resourceCount++
  lastResource = index
}

/** The service's name is the value just encoded: its length, its bytes. */
function serviceIndex(from: usize, end: usize): u32 {
  let at = from
  while (load<u8>(at++) >= 0x80) {}
  return column.services.index(at, <u32>(end - at))
}
