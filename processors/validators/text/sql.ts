/** SQL hidden in a parameter that should be data. Whole statements without a break-out are not judged: a parameter may be a query by purpose. */
export type SqlRule =
  | 'tautology'
  | 'union_select'
  | 'stacked_statement'
  | 'comment_cut'
  | 'time_delay'
  | 'schema_probe'

const S = '(?:\\s|/\\*[^*]{0,40}\\*/|\\+){1,8}'

const RULES: readonly (readonly [SqlRule, RegExp])[] = [
  [
    'tautology',
    new RegExp(
      `['")\\d]${S}(?:or|and|\\|\\||&&)${S}\\(?(?:(['"]?)(\\w{1,20})\\1?\\s{0,4}(?:=|like)\\s{0,4}\\(?['"]?\\2(?!\\w)|true\\b|not${S}false\\b|\\d{1,9}\\s{0,4}[<>]\\s{0,4}\\d{1,9})`,
      'i',
    ),
  ],
  ['tautology', /['"]\s{0,4}(?:or|\|\|)\s{0,4}['"]?(\w{0,20})['"]?\s{0,4}(?:=|like)\s{0,4}['"]?\1/i],
  ['union_select', new RegExp(`(?:['")\\d]|^)${S}union${S}(?:all${S}|distinct${S})?\\(?select\\b`, 'i')],
  [
    'stacked_statement',
    new RegExp(
      `['")\\d]?\\s{0,8};\\s{0,8}(?:drop${S}(?:table|database|schema|view|index|user)|delete${S}from|update${S}\\w{1,64}${S}set|insert${S}into|alter${S}(?:table|user|database)|truncate${S}(?:table${S})?\\w|create${S}(?:table|user|function|trigger)|grant${S}|exec(?:ute)?${S}|shutdown\\b|declare${S}@|waitfor${S})`,
      'i',
    ),
  ],
  ['comment_cut', /['"]\)?\s{0,4}(?:;\s{0,4})?(?:--(?:\s|-|$)|#\s{0,4}$|\/\*)/],
  [
    'time_delay',
    /\b(?:pg_sleep|sleep|benchmark|dbms_pipe\.receive_message|randomblob)\s{0,4}\(\s{0,4}['"]?\d|\bwaitfor\s{1,4}delay\b/i,
  ],
  [
    'schema_probe',
    /\b(?:information_schema\.|sqlite_master\b|pg_catalog\.|sys\.(?:tables|objects|columns)\b|xp_cmdshell\b|load_file\s{0,4}\(|into\s{1,4}(?:out|dump)file\b|extractvalue\s{0,4}\(|updatexml\s{0,4}\()/i,
  ],
]
const MARKS = /['";()]|--|\bunion\b|_schema|sqlite_master|pg_catalog|xp_cmdshell|waitfor|\bor\b/i

/** The first rule that the value breaks; undefined for what reads as data. */
export function sqlInjection(value: string): SqlRule | undefined {
  if (!MARKS.test(value)) return undefined
  return RULES.find(([, pattern]) => pattern.test(value))?.[0]
}
