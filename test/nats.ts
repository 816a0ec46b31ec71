import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { testPorts } from './support/ports.ts'

/**
 * A real nats-server with JetStream in a temporary directory. Keeps its ports over restarts, so it is told them: for `-1` it
 * would choose others.
 */
export class NatsServer {
  readonly port: number
  readonly monitorPort: number
  readonly directory: string
  readonly #config: string
  #process: ChildProcess | undefined

  private constructor(port: number, monitorPort: number, directory: string, config: string) {
    this.port = port
    this.monitorPort = monitorPort
    this.directory = directory
    this.#config = config
  }

  /** `extra` is appended to the server's configuration file. */
  static async start(extra = ''): Promise<NatsServer> {
    const directory = await mkdtemp(join(tmpdir(), 'weir-nats-'))
    const [port = 0, monitorPort = 0] = await testPorts(2)
    const server = new NatsServer(port, monitorPort, directory, extra)
    await server.start()
    return server
  }

  get url(): string {
    return `nats://127.0.0.1:${this.port}`
  }

  get monitorUrl(): string {
    return `http://127.0.0.1:${this.monitorPort}`
  }

  get storeDir(): string {
    return join(this.directory, 'store')
  }

  async start(): Promise<void> {
    const file = join(this.directory, 'nats.conf')
    await writeFile(file, this.#settings())
    const server = spawn('nats-server', ['-c', file], { stdio: ['ignore', 'ignore', 'pipe'] })
    this.#process = server
    // A test that fails before `stop` must not leave a server behind.
    const reap = (): boolean => server.kill('SIGKILL')
    process.once('exit', reap)
    server.once('exit', () => process.off('exit', reap))
    const log: string[] = []
    const ready = new Promise<void>((resolve, reject) => {
      createInterface({ input: server.stderr }).on('line', (line) => {
        if (log.length < 200) log.push(line)
        if (line.includes('Server is ready')) resolve()
      })
      server.once('error', reject)
      server.once('exit', () => reject(new Error(`nats-server ended:\n${log.join('\n')}`)))
    })
    await ready
  }

  #settings(): string {
    return `listen: "127.0.0.1:${this.port}"\nhttp: "127.0.0.1:${this.monitorPort}"\njetstream { store_dir: "${this.storeDir}" }\nmax_payload: 8MB\n${this.#config}\n`
  }

  /** Its process id, for tests that stop or trace it. */
  get pid(): number | undefined {
    return this.#process?.pid
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const process = this.#process
    this.#process = undefined
    if (process === undefined || process.exitCode !== null) return
    const ended = once(process, 'exit')
    process.kill(signal)
    await ended
  }

  async restart(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    await this.kill(signal)
    await this.start()
  }

  async stop(): Promise<void> {
    await this.kill('SIGKILL')
    await rm(this.directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
  }
}
