import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Labels } from './meter.ts'
import type { PromMeter } from './prom-meter.ts'

/**
 * The collector's process metrics. The main process has no label, as dashboards expect; the store process passes
 * `store` and stands beside it as `process="store"`. Sampled when somebody reads.
 */
export function sampleProcess(meter: PromMeter, role: 'intake' | 'store'): void {
  const labels: Labels = role === 'intake' ? {} : { process: role }
  const cpu = meter.counter('otelcol_process_cpu_seconds')
  const uptime = meter.counter('otelcol_process_uptime')
  const delay = monitorEventLoopDelay({ resolution: 20 })
  delay.enable()
  let cpuSeen = 0
  let uptimeSeen = 0
  meter.onCollect(() => {
    const { user, system } = process.cpuUsage()
    const cpuNow = (user + system) / 1e6
    cpu.add(Math.max(0, cpuNow - cpuSeen), labels)
    cpuSeen = cpuNow
    uptime.add(Math.max(0, process.uptime() - uptimeSeen), labels)
    uptimeSeen = process.uptime()
    sampleMemory(meter, labels)
    meter.gauge('weir_event_loop_lag_seconds').set(delay.count === 0 ? 0 : delay.percentile(99) / 1e9, labels)
    delay.reset()
  })
}

function sampleMemory(meter: PromMeter, labels: Labels): void {
  const memory = process.memoryUsage()
  meter.gauge('otelcol_process_memory_rss').set(memory.rss, labels)
  meter.gauge('otelcol_process_runtime_heap_alloc_bytes').set(memory.heapUsed, labels)
  meter.gauge('otelcol_process_runtime_total_alloc_bytes').set(memory.external + memory.arrayBuffers, labels)
  meter.gauge('otelcol_process_runtime_total_sys_memory_bytes').set(memory.heapTotal, labels)
}
