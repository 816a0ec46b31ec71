import { isIPv6 } from 'node:net'
import { FEATURE } from './features.ts'
import type { Detector } from './finding.ts'

/** Addresses of machines: IPv4, IPv6, MAC. */

const OCTET = '(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)'
const IPV4 = new RegExp(`(?<![\\w.-])${OCTET}(?:\\.${OCTET}){3}(?![\\w-]|\\.\\d)`, 'g')
const HEX_RUN = /(?<![\w:.])[0-9A-Fa-f:]{2,39}(?:\d{1,3}(?:\.\d{1,3}){3})?(?![\w:])/g
const MAC = /(?<![\w:-])[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}(?![\w:-])/g

export const ip: Detector = {
  type: 'ip',
  needs: FEATURE.digits | FEATURE.colons,
  find({ text, features }, found) {
    if ((features & FEATURE.digits) !== 0) {
      for (const match of text.matchAll(IPV4)) {
        if (isNobody(match[0]) || isVersion(text, match.index)) continue
        found.push({ start: match.index, end: match.index + match[0].length, type: 'ip' })
      }
    }
    if ((features & FEATURE.colons) === 0) return
    for (const match of text.matchAll(HEX_RUN)) {
      if (match[0] === '::' || match[0] === '::1' || !isIPv6(match[0])) continue
      found.push({ start: match.index, end: match.index + match[0].length, type: 'ip' })
    }
  },
}

/** Loopback, unspecified, broadcast and the mask of a network are no one's address. */
function isNobody(address: string): boolean {
  return /^(?:127\.|0\.0\.0\.0$|255\.)/.test(address)
}

/** `Chrome/120.0.0.0`, `version 1.2.3.4`, `v1.2.3.4`. */
function isVersion(text: string, start: number): boolean {
  const before = text.slice(Math.max(0, start - 12), start)
  return /[A-Za-z]\/$|\bv(?:er(?:sion)?)?[ .:=]{0,2}$/i.test(before)
}

export const mac: Detector = {
  type: 'mac',
  needs: FEATURE.colons,
  find({ text }, found) {
    for (const match of text.matchAll(MAC)) {
      if (/^(?:00[:-]){5}00$|^(?:ff[:-]){5}ff$/i.test(match[0])) continue
      found.push({ start: match.index, end: match.index + match[0].length, type: 'mac' })
    }
  },
}
