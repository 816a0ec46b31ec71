// Writes processors/sanitizer/secrets/rules.json from gitleaks' config (MIT): `node scripts/gitleaks.mjs gitleaks.toml`.
// Its regular expressions become ones that V8 runs in linear time; what cannot be is replaced by hand below.
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'
import { parseToml } from './gitleaks/toml.mjs'
import { translate } from './gitleaks/translate.mjs'

// Found by detectors of their own (detect/): tokens of three parts, and keys between their markers.
const OWN = new Set(['jwt', 'jwt-base64', 'private-key'])
// `near`: a word that must stand at most so many characters before. The originals search to the end of the text from
// every `curl`, and from every `kind: secret` through 200 × 100 characters.
const BY_HAND = {
  'curl-auth-header': {
    regex: String.raw`[ \t\n\r](?:-H|--header)(?:=|[ \t]{0,5})["'](?:[Aa]uthorization:[ \t]{0,5}(?:[Bb]asic[ \t]([A-Za-z0-9+/]{8,500}={0,3})|(?:[Bb]earer|(?:[Aa]pi-)?[Tt]oken)[ \t]([\w=~@.+/-]{8,2000})|([\w=~@.+/-]{8,2000}))|(?:(?:[Xx]-(?:[A-Za-z]{1,20}-)?)?(?:[Aa]pi-?)?(?:[Kk]ey|[Tt]oken)):[ \t]{0,5}([\w=~@.+/-]{8,2000}))["']`,
    near: ['curl', 2000],
  },
  'curl-auth-user': {
    regex: String.raw`[ \t\n\r](?:-u|--user)(?:=|[ \t]{0,5})("(?::[^"]{3,200}|[^:"]{3,200}:|[^:"]{3,200}:[^"]{3,200})"|'[^:']{3,200}:[^']{3,200}'|(?:"[^"]{3,200}"|'[^']{3,200}'|[\w$@.-]{1,200}):(?:"[^"]{3,200}"|'[^']{3,200}'|[\w${'$'}{}@.-]{1,200}))(?:\s|$)`,
    near: ['curl', 2000],
  },
  'kubernetes-secret-yaml': {
    regex: String.raw`\n[ \t]{1,20}[\w.-]{1,100}:[ \t]{1,8}(?:[|>][-+]?\s{1,20})?["']?([A-Za-z0-9+/]{10,5000}={0,3})["']?(?=\s|$)`,
    near: ['kind: secret', 5000],
  },
  'nuget-config-password': {
    regex: String.raw`<add key="(?:(?:ClearText)?Password)"\s{0,20}value="([^"\n]{8,500})"\s{0,20}/>`,
  },
}

const path = process.argv[2]
if (path === undefined) {
  process.stderr.write('usage: node scripts/gitleaks.mjs <gitleaks.toml[.gz]>\n')
  process.exit(2)
}
const raw = readFileSync(path)
const config = parseToml((path.endsWith('.gz') ? gunzipSync(raw) : raw).toString('utf8'))

const rules = []
for (const rule of config.rules) {
  if (rule.regex === undefined || OWN.has(rule.id)) continue
  const byHand = BY_HAND[rule.id]
  rules.push({
    id: rule.id,
    regex: byHand?.regex ?? translate(rule.regex),
    ...(byHand?.near && { near: byHand.near }),
    ...(rule.secretGroup && { group: rule.secretGroup }),
    ...(rule.entropy && { entropy: rule.entropy }),
    keywords: (rule.keywords ?? []).map((word) => word.toLowerCase()),
    ...allows(rule.allowlists),
  })
}

function allows(lists = []) {
  const allow = lists
    .filter((list) => list.paths === undefined && list.commits === undefined)
    .map((list) => ({
      ...(list.condition === 'AND' && { all: true }),
      ...(list.regexTarget && { target: list.regexTarget }),
      ...(list.regexes && { regexes: list.regexes.map(translate) }),
      ...(list.stopwords && { stopwords: list.stopwords.map((word) => word.toLowerCase()) }),
    }))
    .filter((list) => list.regexes !== undefined || list.stopwords !== undefined)
  return allow.length > 0 ? { allow } : {}
}

const { allowlist } = config
const table = {
  source: 'https://github.com/gitleaks/gitleaks config/gitleaks.toml @ b58d3f10',
  licence: 'MIT License, Copyright (c) 2019 Zachary Rice',
  allow: { regexes: allowlist.regexes.map(translate), stopwords: allowlist.stopwords },
  rules,
}
const target = fileURLToPath(new URL('../processors/sanitizer/secrets/rules.json', import.meta.url))
writeFileSync(target, `${JSON.stringify(table, undefined, 1)}\n`)
process.stdout.write(`${rules.length} rules\n`)
