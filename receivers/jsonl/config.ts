import { hostname } from 'node:os'
import { z } from 'zod'
import { TENANT } from '../../pipeline/admission.ts'
import { runs } from '../../pipeline/agent/config.ts'
import { byteSize, duration } from '../../pipeline/schema.ts'
import { mapping } from './mapping-config.ts'

const literal = z.union([z.string(), z.number(), z.boolean()])

const attributes = z.record(z.string().min(1), literal).default({})

const retry = z
  .strictObject({
    initial_interval: duration().prefault('1s').describe('First pause after a refusal.'),
    max_interval: duration().prefault('30s').describe('Longest pause.'),
  })
  .prefault({})
  .describe('Pauses while the pipeline does not take data. A file waits without end: nothing is given up.')

export const config = z
  .strictObject({
    include: z
      .array(z.string().min(1))
      .min(1)
      .describe('Files to read, as glob patterns: `/var/log/agents/*.jsonl`, `/data/**/*.jsonl.gz`.'),
    exclude: z.array(z.string().min(1)).default([]).describe('Files to leave out, as glob patterns.'),
    exclude_older_than: duration()
      .optional()
      .describe('Leaves out files that nobody knows yet and that were not changed for this long.'),
    allowed_roots: z
      .array(z.string().min(1))
      .default([])
      .describe(
        'Directories that a file must lie in once links are resolved; empty: those that the patterns begin with.',
      ),
    format: z
      .enum(['auto', 'otlp_json', 'audit', 'toon', 'json'])
      .default('auto')
      .describe('What a line is; `auto` looks at each. `json` needs `mapping`.'),
    mapping: mapping.optional(),
    start_at: z
      .enum(['beginning', 'end'])
      .default('end')
      .describe(
        'Where files start that are there when this receiver runs for the first time; later ones are read whole.',
      ),
    poll_interval: duration().prefault('200ms').describe('Pause between two looks at the files.'),
    fingerprint_size: byteSize()
      .prefault('1kb')
      .pipe(z.number().min(16).max(65_536))
      .describe('First bytes of a file by whose hash it is known again under another name.'),
    initial_buffer_size: byteSize()
      .prefault('1MiB')
      .pipe(
        z
          .number()
          .min(4096)
          .max(64 * 1024 * 1024),
      )
      .describe('Bytes that are read at a time: the size of a batch.'),
    max_log_size: byteSize()
      .prefault('1MiB')
      .pipe(
        z
          .number()
          .min(64)
          .max(64 * 1024 * 1024),
      )
      .describe('Longest line; a longer one is dead-lettered without being held in memory.'),
    max_concurrent_files: z.number().int().min(2).default(1024).describe('Files that are open at a time.'),
    max_batches: z
      .number()
      .int()
      .nonnegative()
      .default(0)
      .describe('Rounds of `max_concurrent_files` files in one poll; 0: all.'),
    force_flush_period: duration()
      .prefault('500ms')
      .describe('A last line without a newline is taken after this time, if it is whole JSON; 0: never.'),
    rotate_wait: duration()
      .prefault('5s')
      .describe('How long a file that is gone from its path is still read through its open handle.'),
    encoding: z
      .enum(['utf-8', 'utf8', 'ascii', 'latin1', 'iso-8859-1', 'utf-16', 'utf-16le', 'utf-16be'])
      .default('utf-8')
      .describe('Encoding of the files; `utf-16` is told by its byte order mark.'),
    compression: z
      .enum(['', 'none', 'gzip', 'auto'])
      .default('auto')
      .describe('`gzip`: all files are; `auto`: those named *.gz; `none`: no file is.'),
    delete_after_read: z
      .boolean()
      .default(false)
      .describe('Deletes a file once all of it is safe; needs `start_at: beginning`.'),
    include_file_name: z
      .boolean()
      .default(true)
      .describe('Puts the name into `log.file.name` (OTLP lines stay as they are).'),
    include_file_path: z.boolean().default(false).describe('Puts the path into `log.file.path`.'),
    attributes: attributes.describe('Added to every span made from a line.'),
    resource: attributes.describe('Resource attributes of the spans made from lines, e.g. `service.name`.'),
    tenant: z.string().regex(TENANT).default('default').describe('Whose data the files hold.'),
    project: z.string().default('').describe('Project within the tenant.'),
    instance: z
      .string()
      .min(1)
      .default(() => hostname())
      .describe(
        'Whose files these are among daemons that share a state store; default: the host name. Set it where that changes with every start (containers).',
      ),
    runs: runs.prefault({}).describe('Runs that toon events open.'),
    retry_on_failure: retry,
    dead_letters: z
      .strictObject({
        max_bytes: byteSize()
          .prefault('8MiB')
          .describe('Bytes of dead letters that are kept; the oldest leave first, counted.'),
      })
      .prefault({})
      .describe('Lines that cannot be read: file, offset, length, SHA-256 and reason, never their content.'),
  })
  .refine((value) => value.format !== 'json' || value.mapping !== undefined, {
    path: ['mapping'],
    message: '`format: json` needs a mapping',
  })
  .refine((value) => !value.delete_after_read || value.start_at === 'beginning', {
    path: ['delete_after_read'],
    message: 'needs `start_at: beginning`, or what was there before would be deleted unread',
  })

export type JsonlConfig = z.output<typeof config>
