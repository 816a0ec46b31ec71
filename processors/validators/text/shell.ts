/**
 * Shell commands hidden in a parameter that should be data: separators or substitutions of a shell with a command after
 * them. A parameter that is a command by purpose (`command`, `script`, …) must not be judged by this.
 */
export type ShellRule = 'command_chain' | 'command_substitution' | 'command_pipe' | 'redirection'

const COMMAND =
  '(?:rm|cat|ls|curl|wget|nc|ncat|netcat|bash|sh|zsh|ash|dash|python[23]?|perl|ruby|node|php|powershell|pwsh|cmd|chmod|chown|sudo|su|whoami|id|uname|hostname|ifconfig|ip|ping|nslookup|dig|sleep|kill|killall|reboot|shutdown|mkfifo|mknod|dd|mv|cp|touch|find|grep|env|printenv|export|eval|exec|source|base64|xxd|tee|xargs|nohup|crontab|ssh|scp|telnet|ftp|tftp|certutil|bitsadmin|net|type|del|dir|echo|printf|awk|sed|head|tail|ps)'
const PATH = '(?:/(?:usr/)?(?:local/)?s?bin/|\\./|~/)?'
const END = '(?![\\w-])'

const RULES: readonly (readonly [ShellRule, RegExp])[] = [
  ['command_substitution', new RegExp(`\\$\\(\\s{0,8}${PATH}${COMMAND}${END}|\`\\s{0,8}${PATH}${COMMAND}${END}[^\`\\n]{0,200}\``, 'i')],
  ['command_pipe', new RegExp(`\\|\\s{0,8}${PATH}(?:bash|sh|zsh|ash|dash|python[23]?|perl|ruby|node|php|pwsh|powershell|xargs|tee|nc|sudo)${END}`, 'i')],
  ['command_chain', new RegExp(`(?:[;&\\n]|&&|\\|\\|?)\\s{0,8}${PATH}${COMMAND}${END}(?=\\s{0,8}(?:$|[-/~.$'"\`|;&<>\\n]|[a-z0-9_]))`, 'i')],
  ['redirection', /(?:^|\s)\d?>{1,2}\s{0,4}(?:\/etc\/|\/dev\/tcp\/|\/root\/|~\/\.ssh\/|\/var\/spool\/cron)/],
]
/** Without one of these there is nothing to look for. */
const MARKS = /[;&|`$>\n]/

/** The first rule that the value breaks; undefined for what reads as data. */
export function shellInjection(value: string): ShellRule | undefined {
  if (!MARKS.test(value)) return undefined
  return RULES.find(([, pattern]) => pattern.test(value))?.[0]
}
