import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['**/*.test.ts'],
    exclude: ['**/node_modules/**', 'dist/**'],
    // Forks: embedded ClickHouse ends a worker thread's process (design section 1).
    pool: 'forks',
    // On two cores: a third of the time tests wait for processes, timers and disks.
    maxWorkers: 3,
    // What a test waits for has its own event. These only end what hangs, and are for a machine with ten times too much to do.
    testTimeout: 180_000,
    hookTimeout: 240_000,
    expect: { poll: { timeout: 60_000 } },
    globalSetup: ['test/setup.ts'],
  },
})
