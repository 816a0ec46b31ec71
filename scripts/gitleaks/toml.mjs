// The part of TOML that gitleaks' generated config uses: tables, arrays of tables, strings, numbers, arrays of strings.
export function parseToml(text) {
  const root = {}
  let table = root
  let at = 0
  while (at < text.length) {
    const line = /[^\n]*/y
    line.lastIndex = at
    const source = line.exec(text)[0]
    const trimmed = source.trim()
    if (trimmed === '' || trimmed.startsWith('#')) at += source.length + 1
    else if (trimmed.startsWith('[')) {
      table = open(root, trimmed)
      at += source.length + 1
    } else {
      const equals = text.indexOf('=', at)
      const name = text.slice(at, equals).trim()
      const [value, end] = readValue(text, equals + 1)
      table[name] = value
      at = end
    }
  }
  return root
}

function open(root, header) {
  const isArray = header.startsWith('[[')
  const path = header.replace(/^\[+|\]+.*$/g, '').split('.')
  let table = root
  for (const [index, name] of path.entries()) {
    const last = index === path.length - 1
    if (last && isArray) {
      table[name] ??= []
      table[name].push({})
    } else table[name] ??= {}
    table = Array.isArray(table[name]) ? table[name].at(-1) : table[name]
  }
  return table
}

function readValue(text, from) {
  let at = skipSpace(text, from)
  if (text.startsWith("'''", at)) return until(text, at + 3, "'''")
  if (text.startsWith('"""', at)) return until(text, at + 3, '"""')
  if (text[at] === "'") return until(text, at + 1, "'")
  if (text[at] === '"') {
    const literal = /"(?:[^"\\]|\\.)*"/y
    literal.lastIndex = at
    const found = literal.exec(text)[0]
    return [JSON.parse(found), at + found.length]
  }
  if (text[at] === '[') {
    const items = []
    at = skipSpace(text, at + 1)
    while (text[at] !== ']') {
      const [item, end] = readValue(text, at)
      items.push(item)
      at = skipSpace(text, end)
      if (text[at] === ',') at = skipSpace(text, at + 1)
    }
    return [items, at + 1]
  }
  const word = /[^\s,\]#]+/y
  word.lastIndex = at
  const found = word.exec(text)[0]
  return [found === 'true' ? true : found === 'false' ? false : Number(found), at + found.length]
}

function until(text, from, mark) {
  const end = text.indexOf(mark, from)
  return [text.slice(from, end), end + mark.length]
}

function skipSpace(text, from) {
  let at = from
  for (;;) {
    while (/\s/.test(text[at] ?? '')) at++
    if (text[at] !== '#') return at
    while (at < text.length && text[at] !== '\n') at++
  }
}
