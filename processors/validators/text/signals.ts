import { maskOf, type Concept, type Mask } from './lexicon.ts'

/** One word of a signal: it has all of these concepts, and is at most `gap` words behind the step before. */
interface Step {
  readonly mask: Mask
  readonly gap: number
}

/** A short sequence of concepts. Several signals make up a rule: what people are told. */
export interface Signal {
  readonly id: string
  readonly rule: string
  readonly steps: readonly Step[]
}

/**
 * `id: concept gap concept …`: each next concept within so many words. What a rule means stands in the README of the
 * validator.
 */
const SIGNALS: Readonly<Record<string, readonly string[]>> = {
  instruction_override: [
    'disregard 4 prior 4 rules',
    'disregard 3 rules',
    'disregard 2 prior',
    'quit 4 prior 3 rules',
    'negation 2 obey 4 rules',
    'fresh 2 rules',
    'start+fresh 1 rules',
    'now 1 on',
    'earlier 2 rules',
    'start+console 3 fresh',
    'start+console 4 rules',
  ],
  persona_switch: [
    'you 2 are 2 now',
    'you 3 now',
    'you 4 persona',
    'persona 2 as',
    'persona 5 ai',
    'persona 12 unrestricted',
    'as 3 ai',
    'you 2 are 5 ai',
    'stay 2 character',
    'fiction 8 ai',
    'persona 3 fiction',
    'persona',
    'dan',
    'persona 5 dan',
  ],
  restriction_removal: [
    'unrestricted',
    'unrestricted 5 ai',
    'ai 10 unrestricted',
    'negation 4 rules',
    'negation 6 ethics',
    'negation 3 obey',
    'negation 4 refusal',
    'anything 1 now',
    'ethics',
    'ethics 3 ethics',
    'obey 4 rules',
    'rules 5 ai',
    'rules 6 disabled',
    'disabled 4 rules',
  ],
  answer_control: [
    'answer 4 always 3 prompts',
    'you 3 answer',
    'always 2 answer',
    'answer 2 as',
    'two 3 answer',
    'developer 2 mode',
    'mode 2 enabled',
    'answer 6 unrestricted',
    'always 2 obey',
    'you 3 obey',
    'you 2 always',
    'ai',
    'answer',
  ],
  prompt_leak: [
    'reveal 4 earlier 3 rules',
    'reveal 4 system 2 rules',
    'reveal 5 you 3 rules',
    'reveal 3 context 2 earlier',
    'reveal 3 earlier 2 context',
    'reveal 8 verbatim',
    'rules 4 you 3 given',
  ],
  template: ['insert 1 prompts', 'insert 2 prompts'],
  harm: ['harm', 'harm 8 harm'],
  chat_markup: ['markup'],
}

/** Only in what is not the user's: tool results, documents. */
const INDIRECT: Readonly<Record<string, readonly string[]>> = {
  output_steering: [
    'start+steer 9 yours 2 outcome',
    'yours 2 outcome 4 steer',
    'steer 10 yours 2 outcome',
    'yours 2 outcome',
    'start+steer 9 outcome',
    'start+steer',
    'yours 3 outcome 8 link',
    'before 2 answer',
  ],
  code_planting: [
    'plant 7 following 2 code',
    'following 2 code',
    'following 2 code 10 yours 2 codeYours',
    'start+plant',
    'plant 12 yours 2 codeYours',
    'yours 3 codeYours',
  ],
  embedded_request: ['start+task', 'start+interrogative', 'start+imperative', 'start+reveal'],
  tool_hijack: [
    'start+imperative 6 tool',
    'imperative 6 secret',
    'imperative 8 link',
    'secret 8 link',
    'important 3 ai',
    'start+ai',
    'imperative 4 user',
    'negation 3 reveal 3 user',
    'negation 3 mention',
    'start+tell 2 user',
    'ai 4 reading',
    'ai 3 always',
    'before 3 reading',
    'negation 2 reading',
    'fresh 4 ai',
    'tool 3 imperative',
    'yours 1 fresh 1 assignment',
    'yours 3 assignment',
    'ai 6 always',
    'ai 6 imperative',
    'disregard 4 user',
    'negation 3 task 4 user',
    'negation 3 obey 4 prompts',
    'tell 2 user',
  ],
}

function parsed(rule: string, text: string): Signal {
  const parts = text.split(' ')
  const steps: Step[] = []
  for (let i = 0; i < parts.length; i += 2) {
    const mask = maskOf(parts[i]!.split('+') as Concept[])
    steps.push({ mask, gap: i === 0 ? 0 : Number(parts[i - 1]) })
  }
  return { id: text, rule, steps }
}

function all(table: Readonly<Record<string, readonly string[]>>): Signal[] {
  return Object.entries(table).flatMap(([rule, texts]) => texts.map((text) => parsed(rule, text)))
}

export const DIRECT: readonly Signal[] = all(SIGNALS)
export const ALL: readonly Signal[] = [...DIRECT, ...all(INDIRECT)]
