import type { Registry } from '../pipeline/factory.ts'
import { connectors } from '../connectors/index.ts'
import { exporters } from '../exporters/index.ts'
import { extensions } from '../extensions/index.ts'
import { jobs } from '../jobs/index.ts'
import { processors } from '../processors/index.ts'
import { receivers } from '../receivers/index.ts'

/** Everything that is built in: the only place that knows all components. */
export const registry: Registry = { receivers, processors, exporters, connectors, extensions, jobs }
