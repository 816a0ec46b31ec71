import { freePorts, PORTS } from '../../pipeline/net/free-ports.ts'

/** More than the files that run beside each other. */
const PARTS = 8
const SIZE = (PORTS.to - PORTS.from) / PARTS

/**
 * Ports for what a test starts later, or starts again. Each of the files that run beside each other has a part of the range
 * to itself: between a choice and a server's start no other of them takes the port.
 */
export async function testPorts(count: number): Promise<number[]> {
  const from = PORTS.from + (Number(process.env['VITEST_POOL_ID'] ?? 0) % PARTS) * SIZE
  return freePorts(count, { from, to: from + SIZE })
}
