import { z } from 'zod'

const path = z.string().min(1)

/** Where the fields of a span are in a line of any other JSON. A path is a key, or keys joined by dots. */
export const mapping = z
  .strictObject({
    trace_id: path
      .optional()
      .describe(
        '32 hex digits or a UUID are kept, anything else is hashed with the tenant. Absent: a trace per line.',
      ),
    span_id: path
      .optional()
      .describe('16 hex digits are kept, anything else is hashed. Absent: by file and offset.'),
    parent_span_id: path.optional().describe('As `span_id`.'),
    name: path.optional().describe('Name of the span; absent in a line: the format’s name.'),
    time: path.optional().describe('When the span ended. Absent: when the line was read.'),
    start_time: path.optional().describe('When it began; without it `duration` is taken off the end.'),
    time_format: z
      .enum(['auto', 'rfc3339', 's', 'ms', 'us', 'ns'])
      .default('auto')
      .describe('`auto`: text is RFC 3339, and a number’s size tells its unit.'),
    duration: path.optional().describe('How long it took.'),
    duration_unit: z.enum(['s', 'ms', 'us', 'ns']).default('ms').describe('Unit of `duration`.'),
    status: path
      .optional()
      .describe(
        'What is compared with `error_values`; `true` and a text of its own are errors too where the path is `error`.',
      ),
    error_values: z
      .array(z.string())
      .default(['error', 'timeout', 'failed', 'failure'])
      .describe('Values of `status` that mean an error, in any case.'),
    message: path.optional().describe('The status message of an error.'),
    attributes: z
      .record(z.string().min(1), path)
      .default({})
      .describe('Attribute → path, e.g. `gen_ai.request.model: request.model`.'),
    rest: z
      .boolean()
      .default(true)
      .describe('Keeps the other keys of the line as attributes of their own names, nested ones as JSON.'),
  })
  .describe('How a line of JSON that is no known format becomes a span.')

export type Mapping = z.output<typeof mapping>
