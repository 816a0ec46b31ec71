import { spawnSync } from 'node:child_process'

/** Before any test: `dist` is fresh (end-to-end tests run the built daemon) and a nats-server is on the PATH. */
export function setup(): void {
  if (process.env['WEIR_TEST_NO_BUILD']) return
  const build = spawnSync(process.execPath, ['scripts/build.mjs', '--if-stale'], { stdio: 'inherit' })
  if (build.status !== 0) throw new Error('the build failed; see the compiler output above')
  if (hasNats()) return
  const installer = process.platform === 'darwin' ? ['brew', 'install', 'nats-server'] : undefined
  // Another program may install meanwhile, and a mirror be away for a moment.
  const patience = ['-o', 'DPkg::Lock::Timeout=300', '-o', 'Acquire::Retries=3']
  const asRoot = process.getuid?.() === 0 ? [] : ['sudo', '-n']
  const apt = [...asRoot, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', ...patience]
  const commands = installer
    ? [installer]
    : [
        [...apt, 'update'],
        [...apt, 'install', '-y', 'nats-server'],
      ]
  for (const [command = '', ...args] of commands) spawnSync(command, args, { stdio: 'ignore' })
  if (!hasNats()) {
    throw new Error(
      'the tests need nats-server on the PATH: `apt-get install nats-server` or `brew install nats-server`',
    )
  }
}

function hasNats(): boolean {
  return spawnSync('nats-server', ['--version'], { stdio: 'ignore' }).status === 0
}
