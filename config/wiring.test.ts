import { describe, expect, it } from 'vitest'
import { around, configOf, errorsOf } from '../test/support/config-files.ts'

/** A config with these pipelines over one component of each kind. */
function piped(pipelines: string, more = ''): { files: Record<string, string> } {
  const text = `receivers: { tcp: }
processors: { price: }
exporters: { store: , print: }
connectors: { journal: { driver: embedded }, journal/b: { driver: embedded, directory: b } }
extensions: { ping: { endpoint: 127.0.0.1:1 } }
service:
${more}  pipelines:
${pipelines}
`
  return { files: { 'a.yaml': text } }
}

const UNUSED = / is defined but not started: /

describe('unknown names', () => {
  it('are reported with what was meant, for keys, sections, types, enums and drivers', () => {
    const text = `recievers: {}
receivers: { tpc: , print: }
processors: { redaction: , memry: , "price/": , "9": }
exporters:
  store: { retires: 1, compress: ls4, columns: [{ nme: a }], xyz: 1 }
connectors: { journal: { driver: embeded }, journal/c: { driver: cluster, servers: [] } }
jobs: { retention: {}, alerts: }
service: { pipelines: { traces: { receivers: [tcp], exporters: [store] } }, telemety: {} }
`
    expect(errorsOf({ files: { 'a.yaml': text } })).toEqual([
      'a.yaml:1:1 recievers: unknown section "recievers"; did you mean "receivers"?',
      'a.yaml:2:14 receivers.tpc: unknown receiver type "tpc"; did you mean "tcp"?',
      'a.yaml:2:21 receivers.print: "print" is an exporter, not a receiver; it belongs under exporters',
      'a.yaml:3:15 processors.redaction: "redaction" is the collector\'s; here "sanitizer" does that, with keys of its own',
      'a.yaml:3:28 processors.memry: unknown processor type "memry"; known processors: price, cost',
      'a.yaml:3:37 processors.price/: the name after the slash must not be empty and must hold no spaces, controls or symbols',
      'a.yaml:3:49 processors.9: an id is type or type/name; the type is letters, digits and _',
      'a.yaml:5:12 exporters.store.retires: unknown key "retires"; did you mean "retries"?',
      'a.yaml:5:34 exporters.store.compress: must be one of none, lz4, zstd, got "ls4"; did you mean "lz4"?',
      'a.yaml:5:49 exporters.store.columns[0].name: is required',
      'a.yaml:5:51 exporters.store.columns[0].nme: unknown key "nme"; did you mean "name"?',
      'a.yaml:5:62 exporters.store.xyz: unknown key "xyz"; known keys: endpoint, directory, username, password, headers, ttl, retries, create, compress, columns',
      'a.yaml:6:34 connectors.journal.driver: must be one of embedded, cluster, got "embeded"; did you mean "embedded"?',
      'a.yaml:6:84 connectors.journal/c.servers: must not be empty',
      'a.yaml:7:9 jobs.retention: unknown job type "retention"; known jobs: tidy',
      'a.yaml:7:24 jobs.alerts: "alerts" is not built into this version yet',
      'a.yaml:8:47 service.pipelines.traces.receivers[0]: no receiver "tcp" is defined under receivers or connectors; did you mean "tpc"?',
      'a.yaml:8:77 service.telemety: unknown key "telemety"; did you mean "telemetry"?',
    ])
  })
})

describe('wrong values', () => {
  it('say what is wanted and what was written, without secrets', () => {
    const block = `  store:
    retries: 11
    ttl: soon
    directory: 0123
    create: 1
    headers: [a]
    columns: { a: 1 }
    password: [hunter2]
    endpoint: {}
  store/b: { password: 12345, retries: 1.5, username: [x], columns: [{ name: "", size: big }] }
  store/c: text`
    expect(errorsOf({ files: { 'a.yaml': around(block) } })).toEqual([
      'a.yaml:7:14 exporters.store.retries: must be at most 10, got 11',
      'a.yaml:8:10 exporters.store.ttl: must be a duration such as 300ms, 10s or 1.5h, got "soon"',
      'a.yaml:9:16 exporters.store.directory: must be a string, got a number (123); put it in quotes',
      'a.yaml:10:13 exporters.store.create: must be true or false, got a number (1)',
      'a.yaml:11:14 exporters.store.headers: must be a map, got a list',
      'a.yaml:12:5 exporters.store.columns: must be a list, got a map',
      'a.yaml:13:15 exporters.store.password: must be a string, got a list',
      'a.yaml:14:5 exporters.store.endpoint: must be a string, got a map',
      'a.yaml:15:24 exporters.store/b.password: must be a string, got a number; put it in quotes',
      'a.yaml:15:40 exporters.store/b.retries: must be a whole number, got a number (1.5)',
      'a.yaml:15:55 exporters.store/b.username: must be a string, got a list',
      'a.yaml:15:78 exporters.store/b.columns[0].name: must not be empty',
      'a.yaml:15:88 exporters.store/b.columns[0].size: must be a number, got a string ("big")',
      'a.yaml:16:12 exporters.store/c: must be a map, got a string ("text")',
    ])
  })

  it('never prints what a URL carries before its host', () => {
    const [error] = errorsOf({
      files: { 'a.yaml': around('  store: { ttl: "${env:URL}" }') },
      env: { URL: 'https://user:hunter2@db:9000/' },
    })
    expect(error).toContain('got "https://[REDACTED]@db:9000/"')
  })
})

describe('pipelines', () => {
  it('must exist, carry traces, and have receivers and exporters', () => {
    expect(errorsOf({ files: { 'a.yaml': 'receivers: { tcp: }\nservice: {}\n' } })).toEqual([
      'a.yaml:2:1 service.pipelines: is required',
    ])
    expect(errorsOf({ files: { 'a.yaml': 'service: { pipelines: {} }\n' } })).toEqual([
      'a.yaml:1:12 service.pipelines: no pipeline is configured, so nothing would run',
    ])
    const pipelines = `    traces: { receivers: [], exporters: [store] }
    traces/b: { exporters: [store] }
    logs/c: { receivers: [tcp], exporters: [store] }
    trace: { receivers: [tcp], exporters: [] }
    traces/d: [tcp]`
    expect(errorsOf(piped(pipelines))).toEqual([
      'a.yaml:8:26 service.pipelines.traces.receivers: a pipeline needs at least one receiver',
      'a.yaml:9:5 service.pipelines.traces/b.receivers: is required',
      'a.yaml:10:5 service.pipelines.logs/c: logs pipelines are not built into this version yet; weir carries traces only',
      'a.yaml:11:5 service.pipelines.trace: unknown signal "trace"; did you mean "traces"?',
      'a.yaml:11:43 service.pipelines.trace.exporters: a pipeline needs at least one exporter',
      'a.yaml:12:15 service.pipelines.traces/d: must be a map, got a list',
    ])
  })

  it('name what is defined, of the right kind, once', () => {
    const pipelines = `    traces: { receivers: [tcp, tcp, store], processors: [pryce, ping], exporters: [print, tcp, stor] }`
    expect(errorsOf(piped(pipelines, '  extensions: [pong, ping, price]\n'))).toEqual([
      'a.yaml:7:16 service.extensions[0]: no extension "pong" is defined under extensions; did you mean "ping"?',
      'a.yaml:7:28 service.extensions[2]: "price" is a processor, not an extension',
      'a.yaml:9:32 service.pipelines.traces.receivers[1]: "tcp" is listed twice',
      'a.yaml:9:37 service.pipelines.traces.receivers[2]: "store" is an exporter, not a receiver',
      'a.yaml:9:58 service.pipelines.traces.processors[0]: no processor "pryce" is defined under processors; did you mean "price"?',
      'a.yaml:9:65 service.pipelines.traces.processors[1]: "ping" is an extension, not a processor',
      'a.yaml:9:91 service.pipelines.traces.exporters[1]: "tcp" is a receiver, not an exporter',
      'a.yaml:9:96 service.pipelines.traces.exporters[2]: no exporter "stor" is defined under exporters or connectors; did you mean "store"?',
    ])
  })

  it('may use a connector from one side, and are told', () => {
    const pipelines = `    traces/in: { receivers: [tcp], exporters: [journal] }
    traces/out: { receivers: [journal/b], exporters: [store] }`
    const { notices, folder } = configOf(piped(pipelines))
    expect(notices.map((notice) => notice.replace(`${folder}/`, '')).slice(0, 2)).toEqual([
      'a.yaml:4:15 connectors.journal: is written to, but no pipeline here reads from it: what it takes in waits until some daemon does',
      'a.yaml:4:46 connectors.journal/b: is read from, but no pipeline here writes to it: another daemon must',
    ])
  })

  it('never feed themselves', () => {
    const pipelines = `    traces/a: { receivers: [tcp, journal/b], exporters: [journal] }
    traces/b: { receivers: [journal], exporters: [journal/b, store] }
    traces/c: { receivers: [journal], exporters: [store] }`
    expect(errorsOf(piped(pipelines))).toEqual([
      'a.yaml:8:5 service.pipelines.traces/a: pipelines feed themselves through connectors: traces/a → traces/b → traces/a',
    ])
    const itself = '    traces: { receivers: [tcp, journal], exporters: [journal] }'
    expect(errorsOf(piped(itself))).toEqual([
      'a.yaml:8:5 service.pipelines.traces: pipelines feed themselves through connectors: traces → traces',
    ])
  })

  it('cannot tell a connector from an exporter of the same id', () => {
    const text = around('  store: {}').replaceAll('journal', 'store')
    expect(errorsOf({ files: { 'a.yaml': text } })).toContain(
      'a.yaml:4:3 connectors.store: "store" is also defined under exporters; pipelines could not tell them apart',
    )
  })

  it('leave out batch and the queues of exporters, and say so; say what is defined and not started', () => {
    const text = `receivers: { tcp: , tcp/b: }
processors: { batch: { timeout: 1s, anything: [1] }, price: }
exporters: { store: { retry_on_failure: { enabled: true }, sending_queue: } }
extensions: { ping: }
service: { pipelines: { traces: { receivers: [tcp], processors: [batch, price], exporters: [store] } } }
`
    const { config, notices, folder } = configOf({ files: { 'a.yaml': text } })
    expect(config.service.pipelines.get('traces')?.processors).toEqual(['price'])
    expect(notices.map((notice) => notice.replace(`${folder}/`, ''))).toEqual([
      'a.yaml:2:15 processors.batch: accepted and left out: weir batches in the WAL, its writer and its reader, not in a processor',
      'a.yaml:3:23 exporters.store.retry_on_failure: accepted and left out: behind a WAL what fails is repeated without end, without one the sender repeats it',
      'a.yaml:3:60 exporters.store.sending_queue: accepted and left out: the WAL is the queue',
      'a.yaml:1:21 receivers.tcp/b: is defined but not started: no pipeline names it',
      'a.yaml:4:15 extensions.ping: is defined but not started: service.extensions does not list it',
    ])
    expect(notices.filter((notice) => UNUSED.test(notice))).toHaveLength(2)
  })
})

describe('conflicts', () => {
  const receivers = (text: string): { files: Record<string, string> } => ({
    files: {
      'a.yaml': `receivers:
${text}
exporters: { store: , store/b: { directory: ./other }, store/c: { endpoint: "http://a:1", directory: ./third } }
extensions: { ping: { endpoint: localhost:8888 } }
service:
  extensions: [ping]
  pipelines: { traces: { receivers: [tcp, tcp/b], exporters: [store, store/b, store/c] } }
`,
    },
  })

  it('are found for ports, wildcard hosts and defaults included, and for embedded directories', () => {
    const text = `  tcp: { protocols: { grpc: { endpoint: "0.0.0.0:5000" }, http: { endpoint: 127.0.0.1:0 } } }
  tcp/b: { protocols: { grpc: { endpoint: 127.0.0.1:5000 }, http: { endpoint: 127.0.0.1:0 } } }`
    expect(errorsOf(receivers(text))).toEqual([
      'a.yaml:3:43 receivers.tcp/b.protocols.grpc.endpoint: port 5000 is already taken by receivers.tcp.protocols.grpc.endpoint',
      'a.yaml:4:45 exporters.store/b.directory: one process holds one embedded ClickHouse; exporters.store uses "./data/store"',
      'a.yaml:6:1 service.telemetry.metrics: port 8888 is already taken by extensions.ping.endpoint',
    ])
  })

  it('do not concern other hosts, port 0, or what is not started', () => {
    const text = `  tcp: { protocols: { grpc: { endpoint: 127.0.0.1:5000 } } }
  tcp/b: { protocols: { grpc: { endpoint: "127.0.0.2:5000" } } }
  tcp/unused: { protocols: { grpc: { endpoint: 127.0.0.1:5000 } } }`
    expect(errorsOf(receivers(text)).filter((error) => error.includes('port 5000'))).toEqual([])
  })

  it('are found for two connectors on one directory', () => {
    const pipelines = `    traces/a: { receivers: [tcp], exporters: [journal, journal/b] }
    traces/b: { receivers: [journal, journal/b], exporters: [store] }`
    const { files } = piped(pipelines)
    const text = (files['a.yaml'] ?? '').replace('directory: b', 'directory: ./data/wal')
    expect(errorsOf({ files: { 'a.yaml': text } })).toEqual([
      'a.yaml:4:88 connectors.journal/b.directory: connectors.journal already writes to "./data/wal"',
    ])
  })
})

describe('service', () => {
  it('reads the telemetry of a collector config', () => {
    const service = `service:
  shutdown_timeout: 1m30s
  telemetry:
    logs: { level: DEBUG, encoding: json }
    metrics:
      level: detailed
      readers:
        - pull: { exporter: { prometheus: { host: "::1", port: 9999, without_units: true } } }
        - pull: { exporter: { prometheus: } }
    traces:
      processors:
        - batch: { exporter: { otlp: { protocol: grpc/protobuf, endpoint: "http://127.0.0.1:4317" } } }
    resource: { service.name: mine, deployment: 2 }`
    const text = around('  store: {}').replace('service:', service)
    const { config } = configOf({ files: { 'a.yaml': text } })
    expect(config.service).toMatchObject({
      shutdownTimeoutMs: 90_000,
      telemetry: {
        logs: { level: 'debug', encoding: 'json' },
        metrics: { level: 'detailed', endpoints: ['[::1]:9999', '127.0.0.1:8888'] },
        traces: { endpoint: 'http://127.0.0.1:4317', insecure: true },
        resource: { 'service.name': 'mine', deployment: '2' },
      },
    })
  })

  it('says what it does not have', () => {
    const service = `service:
  jobs: [retention]
  telemetry:
    logs: { level: warning }
    metrics: { address: ":8888", readers: [{ periodic: {} }] }
    traces: { processors: [{ batch: { exporter: { otlp: { protocol: http/json, endpoint: here } } } }] }`
    const text = around('  store: {}').replace('service:', service)
    expect(errorsOf({ files: { 'a.yaml': text } })).toEqual([
      'a.yaml:8:10 service.jobs[0]: no job "retention" is defined under jobs',
      'a.yaml:10:20 service.telemetry.logs.level: must be one of debug, info, warn, error, got "warning"; did you mean "warn"?',
      'a.yaml:11:16 service.telemetry.metrics.address: unknown key "address"; known keys: level, readers',
      'a.yaml:11:44 service.telemetry.metrics.readers[0].pull: is required',
      'a.yaml:11:46 service.telemetry.metrics.readers[0].periodic: unknown key "periodic"; known keys: pull',
      'a.yaml:12:69 service.telemetry.traces.processors[0].batch.exporter.otlp.protocol: must be one of grpc, grpc/protobuf, got "http/json"',
      'a.yaml:12:90 service.telemetry.traces.processors[0].batch.exporter.otlp.endpoint: must be host:port or http(s)://host:port, got "here"',
    ])
  })
})
