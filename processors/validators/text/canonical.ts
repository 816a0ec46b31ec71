/**
 * Text as a reader sees it, for judging only: compatibility forms and accents folded (NFKD), what is invisible removed,
 * letters of other scripts that look like Latin ones replaced. ASCII comes back as it is. Time is linear.
 */
export function canonical(text: string): string {
  if (!/[\u0080-\u{10ffff}]/u.test(text)) return text
  // Marks first: a normaliser sorts a run of them, which takes quadratic time on a long one.
  return text
    .replace(INVISIBLE, '')
    .normalize('NFKD')
    .replace(INVISIBLE, '')
    .replace(FOREIGN, (char) => LOOKS_LIKE.get(char) ?? flag(char) ?? char)
}

/** Marks over letters, format and bidi controls, zero width, variation selectors, tags, fillers. */
const INVISIBLE = /[\p{Mn}\p{Me}\p{Cf}\u115f\u1160\u3164\uffa0]+/gu
const FOREIGN = /[\u0080-\u{10ffff}]/gu

/**
 * Invisible or reordering characters inside words, as no keyboard puts them there: zero-width ones between Latin
 * letters, bidi overrides, tag characters. Joiners between emoji or in other scripts are not meant.
 */
export function hidesText(text: string): boolean {
  return /[a-z][\u200b-\u200d\u2060\u2063\ufeff\u00ad]{1,8}[a-z]|[\u202d\u202e\u2066-\u2068]|[\u{e0041}-\u{e007a}]{4}/iu.test(
    text,
  )
}

/** What tag characters (U+E0000) spell: ASCII that no font shows. Flags of regions are too short to count. */
export function tagged(text: string): string {
  let found = ''
  for (const [run] of text.matchAll(/[\u{e0020}-\u{e007e}]{8,}/gu))
    found += `${Array.from(run, (char) => String.fromCharCode(char.codePointAt(0)! - 0xe0000)).join('')} `
  return found
}

/** Regional indicators and negative squared letters: 🇭🇴🇼, 🅷🅾🆆. */
function flag(char: string): string | undefined {
  const code = char.codePointAt(0)!
  for (const first of [0x1f1e6, 0x1f170, 0x1f150])
    if (code >= first && code < first + 26) return String.fromCharCode(97 + code - first)
  return undefined
}

/** Of Unicode's confusables (UTS 39, revision of 2024-08), the letters that pass for ASCII ones in common fonts; and quotes and dashes. */
const GLYPHS: Readonly<Record<string, string>> = {
  a: 'аαɑᴀΑАᎪꓮ⍺',
  b: 'ЬβʙᏴВΒꓐƄᑲ',
  c: 'сϲᴄСϹⲥꓚᏟⅽ',
  d: 'ԁɗᏧꓒᗞᴅ',
  e: 'еєεҽЕΕᎬᴇℯꓰ',
  f: 'ƒꓝϝ',
  g: 'ɡցɢԌᏀꓖ',
  h: 'һհнНΗᎻʜꓧ',
  i: 'іιıɩІΙӀǀꓲᛁі',
  j: 'јϳЈꓙᴊ',
  k: 'кκΚКᏦꓗᴋ',
  l: 'ӏʟᏞꓡⅼ',
  m: 'мΜМᎷᴍꓟⅿ',
  n: 'ոɴΝпηꓠ',
  o: 'оοօΟОσჿᴏꓳօ',
  p: 'рρΡРᏢꓑ',
  q: 'ԛգզ',
  r: 'гᴦʀᎡꓣ',
  s: 'ѕѕЅᏚꓢꜱ',
  t: 'тτТΤᎢꓔᴛ',
  u: 'υսᴜꓴцᑌ',
  v: 'νѵᴠᏙꓦⅴ',
  w: 'ԝωшѡᎳꓪᴡ',
  x: 'хχХΧꓫⅹ',
  y: 'уγуүҮΥУꓬʏ',
  z: 'ᴢᏃΖꓜ',
  "'": '‘’‛ʼ`´',
  '"': '“”„«»',
  '-': '‐‑‒–—−',
  ' ': '\u00a0\u3000\u2028\u2029',
}
const LOOKS_LIKE: ReadonlyMap<string, string> = new Map(
  Object.entries(GLYPHS).flatMap(([ascii, glyphs]) =>
    Array.from(glyphs, (glyph): [string, string] => [glyph, ascii]),
  ),
)
