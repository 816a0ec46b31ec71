import { parseResolved } from '../config/resolved.ts'
import { runStoreProcess } from '../pipeline/store/child.ts'
import { registry } from './registry.ts'

/** The store process: forked by `weir run`, never called by hand. */
runStoreProcess({ registry, parse: (raw) => parseResolved(raw, registry) })
