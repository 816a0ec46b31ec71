// A Go (RE2) regular expression as one that V8 runs without flags: inline flags are resolved by writing both cases.
const CLASSES = {
  alnum: 'a-zA-Z0-9',
  alpha: 'a-zA-Z',
  digit: '0-9',
  upper: 'A-Z',
  lower: 'a-z',
  xdigit: '0-9A-Fa-f',
  space: '\\s',
  word: '\\w',
}

export function translate(source) {
  // A leading name of up to 50 characters only widens the match, never the secret in its group.
  const text = source.replaceAll('[\\w.-]{0,50}?', '')
  let out = ''
  let at = 0
  let flags = { i: false, s: false }
  const stack = []
  while (at < text.length) {
    const char = text[at]
    if (char === '(') {
      const group = /^\(\?(?:P<(\w+)>|([a-z]*)(?:-([a-z]+))?([:)]))?/.exec(text.slice(at))
      if (group === null) {
        stack.push({ ...flags })
        out += '('
        at++
      } else if (group[1] !== undefined) {
        stack.push({ ...flags })
        out += `(?<${group[1]}>`
        at += group[0].length
      } else if (group[4] !== undefined) {
        const changed = { ...flags }
        for (const flag of group[2]) changed[flag] = true
        for (const flag of group[3] ?? '') changed[flag] = false
        if (group[4] === ')') flags = changed
        else {
          stack.push({ ...flags })
          flags = changed
          out += '(?:'
        }
        at += group[0].length
      } else throw new Error(`unknown group in ${source}`)
    } else if (char === ')') {
      flags = stack.pop() ?? flags
      out += ')'
      at++
    } else if (char === '[') {
      const [klass, end] = readClass(text, at, flags.i)
      out += klass
      at = end
    } else if (char === '\\') {
      const next = text[at + 1]
      if (next === 'x') {
        out += text.slice(at, at + 4)
        at += 4
      } else {
        out += next === 'z' ? '$' : /[-"'#~<>@%&!`=:;, ]/.test(next) ? escapeLiteral(next) : `\\${next}`
        at += 2
      }
    } else if (char === '.') {
      out += flags.s ? '[^]' : '[^\\n]'
      at++
    } else if (char === '{' && /^\{\d+(?:,\d*)?\}/.test(text.slice(at))) {
      const bounds = /^\{\d+(?:,\d*)?\}/.exec(text.slice(at))[0]
      out += bounds
      at += bounds.length
    } else {
      out +=
        char === '{' || char === '}'
          ? `\\${char}`
          : flags.i && /[a-z]/i.test(char)
            ? `[${char.toLowerCase()}${char.toUpperCase()}]`
            : char
      at++
    }
  }
  return new RegExp(out).source
}

function escapeLiteral(char) {
  return char === '-' ? '-' : char
}

function readClass(text, from, ignoreCase) {
  let at = from + 1
  let out = '['
  if (text[at] === '^') {
    out += '^'
    at++
  }
  let extra = ''
  let first = true
  while (first || text[at] !== ']') {
    first = false
    if (text.startsWith('[:', at)) {
      const end = text.indexOf(':]', at)
      out += CLASSES[text.slice(at + 2, end)]
      at = end + 2
      continue
    }
    const [low, next] = readMember(text, at)
    if (text[next] === '-' && text[next + 1] !== ']' && low.length === 1) {
      const [high, end] = readMember(text, next + 1)
      out += `${quote(low)}-${quote(high)}`
      if (ignoreCase && /[a-z]/i.test(low)) extra += `${swap(low)}-${swap(high)}`
      at = end
    } else {
      out += low.length > 1 ? low : quote(low)
      if (ignoreCase && low.length === 1 && /[a-z]/i.test(low)) extra += swap(low)
      at = next
    }
  }
  return [`${out}${extra}]`, at + 1]
}

/** A character, or an escape such as `\w` that stands for several. */
function readMember(text, at) {
  if (text[at] !== '\\') return [text[at], at + 1]
  const next = text[at + 1]
  if (next === 'x') return [String.fromCharCode(Number.parseInt(text.slice(at + 2, at + 4), 16)), at + 4]
  if (/[wdsWDSrnt]/.test(next)) return [`\\${next}`, at + 2]
  return [next, at + 2]
}

function quote(char) {
  return /[\\\]^[-]/.test(char) ? `\\${char}` : char
}

function swap(char) {
  return char === char.toLowerCase() ? char.toUpperCase() : char.toLowerCase()
}
