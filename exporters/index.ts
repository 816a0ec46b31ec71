import type { ExporterFactory } from '../pipeline/factory.ts'
import { clickhouse } from './clickhouse/factory.ts'
import { cloudwatch } from './cloudwatch/factory.ts'
import { elasticsearch } from './elasticsearch/factory.ts'
import { file } from './file/factory.ts'
import { otlp } from './otlp/factory.ts'
import { s3 } from './s3/factory.ts'
import { stdout } from './stdout/factory.ts'

/** Every exporter that is built in: one line each. */
export const exporters: readonly ExporterFactory[] = [
  clickhouse,
  cloudwatch,
  elasticsearch,
  file,
  otlp,
  s3,
  stdout,
]
