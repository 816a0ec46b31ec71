/**
 * The words that attacks on a prompt are made of, by concept. A signal (signals.ts) is a short sequence of concepts, not
 * of words, so that one rule covers many wordings. `word*` stands for its regular inflections too.
 */
const LEXICON = {
  disregard:
    'ignore* disregard* forget* forgetting bypass* override* overriding overrule* overwrite* disobey* circumvent* violate* unlearn* discard* neglect* abandon* suppress* nullify* defy* evade* supersede*',
  quit: 'stop* stopping cease* break* broken drop dropping reset erase* remove* dismiss* delete* disable* deactivate* free* relax*',
  prior:
    'previous previously prior above earlier preceding before past foregoing original initial existing default usual former current everything all any system developer your other these those normal',
  rules:
    'instruction* direction* rule* guideline* policy policies restriction* limitation* limits constraint* filter* filtering programming programing prompt* directive* protocol* safeguard* boundary boundaries regulation* censorship moderation guardrail* training standards norms confines shackles safety ethics morals principles censor* alignment',
  fresh: 'new updated real actual true revised',
  you: 'you your youre yourself u youll youve',
  ai: 'ai chatgpt gpt gpt3 gpt4 openai claude anthropic bard bing llm llms chatbot* bot bots assistant* model models gemini mistral llama copilot',
  persona:
    'act acts acting pretend* roleplay* roleplaying simulate* simulation* impersonate* imagine* embody* persona* character* personality emulate* mimic* role roles become* transform* immerse* portray* alterego named',
  now: 'now henceforth',
  on: 'on onward onwards forward',
  as: 'as like',
  negation:
    'no without not never dont doesnt wont cannot cant arent isnt free freed lack* devoid regardless none nor neither unbound shouldnt neednt hasnt havent nothing nobody non zero',
  unrestricted:
    'unfiltered uncensored unrestricted unlimited unmoderated unethical amoral immoral jailbreak* jailbroken unhinged unchained unbounded unconstrained limitless boundless lawless unshackled unaligned rebellious',
  ethics:
    'ethic ethical ethically unethical moral* morality morally legal legality legally illegal illegally law laws harmful offensive inappropriate nsfw controversial dangerous unsafe immoral profanity profane swear* curse* cursing vulgar derogatory racist sexist hateful sexual sexually erotic consequence* danger dangers crime* criminal* unlawful malicious violence violent taboo obscene lewd explicit',
  refusal:
    'refuse* decline* reject* apologize* apologise* apology apologies sorry deny disclaimer* remind* lecture* moralize* moralizing censor* warn* avoid*',
  obey: 'obey* comply complies complying abide* adhere* bound conform* follow* fulfill* restrain* constrained restricted limited governed',
  anything: 'anything everything whatever any all',
  dan: 'dan dans stan dude betterdan devmode antigpt aim mongotom evilbot',
  answer:
    'answer* respond* response* reply replies replied replying output* say* speak* talk* generate* provide* produce*',
  always: 'always must every each whenever only all shall',
  prompts: 'question* prompt* message* query queries request* input* sentence* conversation',
  mode: 'mode',
  enabled: 'enabled enable unlocked activated activate simulate* simulation on',
  developer:
    'developer dev debug god admin root sudo maintenance opposite evil jailbreak* unrestricted uncensored unfiltered',
  two: 'two both dual double twice second separate different',
  stay: 'stay staying remain break breaking out leave',
  character: 'character persona role',
  fiction: 'fictional hypothetical fiction story novel game scenario fantasy world universe simulation',
  reveal:
    'reveal* show* print* repeat* output* display* disclose* leak* tell expose* dump* reproduce* recite* echo* share* list write quote translate* summarize*',
  system: 'system hidden secret internal confidential initial original first above',
  insert: 'insert your targetlanguage topic',
  steer:
    'add* adding include* including integrate* insert* append* prepend* incorporate* embed* embedding mention* weave* modify* augment* enhance* alter* adjust* amend* extend* expand* rewrite* introduce* inject* supplement* substitute* replace* convert* encode* scramble* jumble* rearrange* misspell* reverse* swap* shift* shuffle* mix* capitalize* translate* render* remove* group* combine* write use using express* end* begin* start* conclude* finish* suggest* invite* encourage* promote* recommend* urge* advertise* advise* direct* stress* highlight* hint* tease* offer* transform* change* present* format* answer respond reply anagram* emphasize* state* craft* put place drop deliver* give provide* claim* claiming',
  yours: 'your ur',
  outcome:
    'response* answer* reply replies output* message* text content words word letters completion summary translation review',
  plant:
    'incorporate* integrate* integration include* including inclusion insert* inserting embed* embedding employ* utilize* utilise* leverage* merge* merging blend* meld* infuse* interweave* weave* append* adopt* apply implement* deploy* fuse* inject* absorb* enrich* enlist* assimilate* fortify* harness* featuring feature add* adding addition place use using execute* run refine* complement* presence streamline* ensure* consider* enhance* introduce* mix* graft* attach* combine* unite* link* position* adapt* copy paste augment* optimize*',
  following: 'following subsequent below next succeeding ensuing this',
  code: 'code snippet* excerpt* codebase script fragment* segment* block* section* function',
  codeYours:
    'code codebase implementation solution algorithm program script project software application framework system programming explanation elucidation',
  task: 'write draft compose explain describe translate summarize summarise list provide create generate develop outline suggest recommend define compare identify analyze analyse discuss produce design craft prepare calculate evaluate determine predict examine assess suggest propose formulate construct interpret classify extract schedule convert encode rewrite organize plan simulate report share give detail break teach introduce illustrate solve compile present research investigate highlight',
  interrogative: 'what who how why which whose whats whos',
  imperative:
    'send* email forward* upload* transmit* exfiltrate* submit* post visit click download* open fetch navigate call invoke execute run buy transfer* delete',
  secret:
    'password* passcode* credential* token* secret* cookie* ssn apikey key keys private confidential history contacts',
  link: 'http https www ftp',
  tool: 'tool tools function functions command commands shell plugin',
  important: 'important urgent attention critical',
  user: 'user users human humans',
  harm: 'fuck* fucking shit bitch pussy cock cum porn nsfw hentai rape racist nazi meth cocaine bomb* malware ransomware hack* hacker hacking hacks steal murder kill torture genocide slut whore dick ass erotica smut evil villain sexy',
  console: 'system admin administrator',
  earlier: 'previous previously prior above earlier preceding foregoing former initial original',
  context: 'text words everything message* conversation contents content paragraph lines',
  given: 'given received told got set programmed gave said',
  verbatim: 'verbatim exactly word exact',
  markup: 'inst sys im endoftext sysprompt begin eot',
  are: 'are re be',
  /** Words of attacks turned by rot13, or backwards: filled below. */
  disabled: 'disabled off lifted void suspended deactivated removed',
  before: 'before when whenever while',
  mention: 'mention* disclose* tell',
  tell: 'tell ask inform instruct',
  reading: 'read* reading process* processing summarize* summarizing summarise* reviewing review*',
  assignment: 'task tasks objective* mission goal* job',
  veiled: '',
} as const

export type Concept = keyof typeof LEXICON | 'start'

const NAMES = [...Object.keys(LEXICON), 'start'] as Concept[]
/** Concepts per integer of a mask. */
const WIDTH = 31

/** A set of concepts: 31 in each integer. */
export interface Mask {
  readonly low: number
  readonly high: number
}

export function maskOf(concepts: readonly Concept[]): Mask {
  const bits = concepts.map((concept) => NAMES.indexOf(concept))
  const sum = (from: number): number =>
    bits.reduce((all, bit) => (bit >= from && bit < from + WIDTH ? all | (1 << (bit - from)) : all), 0)
  return { low: sum(0), high: sum(WIDTH) }
}

/** FNV's prime. */
export const FACTOR = 0x01000193

/** The word as scanned: lower case letters and digits. */
export function hashOf(word: string): number {
  let hash = 0
  for (let i = 0; i < word.length; i++) hash = (Math.imul(hash, FACTOR) + word.charCodeAt(i)) | 0
  return hash
}

/** Slots of the table of words: open addressing, half of it empty at least. */
const SLOTS = 1 << 13

/** word's hash → its kind, in typed arrays, so that the scan of a text allocates nothing. */
export class Lexicon {
  /** The sets of concepts that words have. A word that begins a sentence is of a kind `plain` further on. */
  readonly kinds: readonly Mask[]
  readonly plain: number
  readonly #hashes = new Int32Array(SLOTS)
  readonly #kinds = new Int16Array(SLOTS)

  constructor() {
    const masks = new Map<string, Mask>()
    const add = (word: string, mask: Mask): void => {
      const { low, high } = masks.get(word) ?? { low: 0, high: 0 }
      masks.set(word, { low: low | mask.low, high: high | mask.high })
    }
    for (const [concept, words] of Object.entries(LEXICON) as [Concept, string][])
      for (const word of words.split(' ').filter(Boolean).flatMap(inflected)) add(word, maskOf([concept]))
    for (const word of VEILED) {
      add(rot13(word), maskOf(['veiled']))
      add(Array.from(word).reverse().join(''), maskOf(['veiled']))
    }
    const kinds = new Map<string, Mask>()
    for (const mask of masks.values()) kinds.set(`${mask.low} ${mask.high}`, mask)
    const names = Array.from(kinds.keys())
    for (const [word, { low, high }] of masks) this.#put(hashOf(word), names.indexOf(`${low} ${high}`))
    const plain = Array.from(kinds.values())
    this.plain = plain.length
    this.kinds = [
      ...plain,
      ...plain.map(({ low, high }) => ({ low: low | START.low, high: high | START.high })),
    ]
  }

  /** -1 when the word is in no concept. */
  kindOf(hash: number): number {
    const hashes = this.#hashes
    for (let slot = home(hash); ; slot = (slot + 1) & (SLOTS - 1)) {
      const at = hashes[slot]!
      if (at === hash) return this.#kinds[slot]!
      if (at === 0) return -1
    }
  }

  #put(hash: number, kind: number): void {
    let slot = home(hash)
    while (this.#hashes[slot] !== 0) slot = (slot + 1) & (SLOTS - 1)
    this.#hashes[slot] = hash
    this.#kinds[slot] = kind
  }
}

const START = maskOf(['start'])

/** Whether `mask` has all that `wanted` has. */
export function hasAll(mask: Mask, wanted: Mask): boolean {
  return (mask.low & wanted.low) === wanted.low && (mask.high & wanted.high) === wanted.high
}

function home(hash: number): number {
  return (hash ^ (hash >>> 15)) & (SLOTS - 1)
}

/** Said backwards or by rot13, these would not be met by chance. */
const VEILED =
  'ignore disregard forget previous instructions instruction system prompt assistant reveal unrestricted password pretend restrictions'.split(
    ' ',
  )

export function rot13(text: string): string {
  return text.replace(/[a-z]/gi, (char) => {
    const base = char <= 'Z' ? 65 : 97
    return String.fromCharCode(((char.charCodeAt(0) - base + 13) % 26) + base)
  })
}

/** `ignore*` → ignore, ignores, ignored, ignoring. */
function inflected(word: string): string[] {
  if (!word.endsWith('*')) return [word]
  const base = word.slice(0, -1)
  if (/[^aeiou]y$/.test(base)) {
    const stem = base.slice(0, -1)
    return [base, `${stem}ies`, `${stem}ied`, `${base}ing`]
  }
  const stem = base.endsWith('e') ? base.slice(0, -1) : base
  const plural = /(?:[sx]|ch|sh)$/.test(base) ? `${base}es` : `${base}s`
  return [base, plural, `${stem}ed`, `${stem}ing`]
}
