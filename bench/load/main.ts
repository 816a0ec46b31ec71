import { generate } from './generator.ts'
import type { LoadPlan } from './plan.ts'

/** The generator process: one plan in by IPC, one result out, then it ends. Its CPU is its own. */
process.once('message', (plan) => {
  void answer(plan as LoadPlan)
})

async function answer(plan: LoadPlan): Promise<void> {
  const result = await generate(plan)
  process.send?.(result, () => process.disconnect())
}
