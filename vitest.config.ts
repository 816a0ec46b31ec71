import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['**/*.test.ts'],
    exclude: ['**/node_modules/**', 'dist/**'],
    // Forks: embedded ClickHouse ends a worker thread's process (design section 1).
    pool: 'forks',
    // On two cores: a third of the time tests wait for processes, timers and disks.
    maxWorkers: 3,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Waiting for a condition is bounded by the test; a busy machine must not fail it.
    expect: { poll: { timeout: 20_000 } },
    globalSetup: ['test/setup.ts'],
  },
})
