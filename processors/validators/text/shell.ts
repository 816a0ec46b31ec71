/**
 * Shell commands hidden in a parameter that should be data: separators or substitutions of a shell with a command after
 * them. A parameter that is a command by purpose (`command`, `script`, …) must not be judged by this.
 */
export type ShellRule = 'command_chain' | 'command_substitution' | 'command_pipe' | 'redirection'

const SURE =
  'rm|curl|wget|nc|ncat|netcat|bash|sh|zsh|ash|python[23]?|perl|php|powershell|pwsh|chmod|chown|sudo|whoami|uname|ifconfig|nslookup|mkfifo|mknod|xargs|nohup|crontab|ssh|scp|tftp|certutil|bitsadmin|printenv|base64|xxd|killall'
/** Words of prose, too: only what a shell would take follows them. */
const PROSE =
  'cat|ls|id|ip|ping|dig|dash|cmd|ruby|node|su|hostname|sleep|kill|reboot|shutdown|dd|mv|cp|touch|find|grep|env|export|eval|exec|source|tee|telnet|ftp|net|type|del|dir|echo|printf|awk|sed|head|tail|ps'
const COMMAND = `(?:${SURE}|${PROSE})`
const PATH = '(?:/(?:usr/)?(?:local/)?s?bin/|\\./|~/)?'
const END = '(?![\\w-])'

const RULES: readonly (readonly [ShellRule, RegExp])[] = [
  [
    'command_substitution',
    new RegExp(
      `\\$\\(\\s{0,8}${PATH}${COMMAND}${END}|\`\\s{0,8}${PATH}${COMMAND}${END}[^\`\\n]{0,200}\``,
      'i',
    ),
  ],
  [
    'command_pipe',
    new RegExp(
      `\\|\\s{0,8}${PATH}(?:bash|sh|zsh|ash|dash|python[23]?|perl|ruby|node|php|pwsh|powershell|xargs|tee|nc|sudo)${END}`,
      'i',
    ),
  ],
  [
    'command_chain',
    new RegExp(
      `(?:[;&\\n]|\\|\\|?)\\s{0,8}(?:${PATH}(?:${SURE})${END}(?!\\s{1,8}(?:is|was|and|or|are)\\b)|${PATH}(?:${PROSE})(?:\\s{1,8}(?:-{1,2}\\w|[/~$'"\`]|\\.{1,2}/|\\d)|\\s{0,8}(?:$|[|;&<>])))`,
      'i',
    ),
  ],
  ['redirection', /(?:^|\s)\d?>{1,2}\s{0,4}(?:\/etc\/|\/dev\/tcp\/|\/root\/|~\/\.ssh\/|\/var\/spool\/cron)/],
]
/** Without one of these there is nothing to look for. */
const MARKS = /[;&|`$>\n]/

/** The first rule that the value breaks; undefined for what reads as data. */
export function shellInjection(value: string): ShellRule | undefined {
  if (!MARKS.test(value)) return undefined
  return RULES.find(([, pattern]) => pattern.test(value))?.[0]
}
