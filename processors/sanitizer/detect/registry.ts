import { CONFIRMED, type SensitiveKeys } from '../keys.ts'
import { isWeak, secretRules, secrets } from '../secrets/secrets.ts'
import { assignments } from './assignments.ts'
import { email, urlCredentials } from './at.ts'
import { card, iban, phone } from './digits.ts'
import { Features } from './features.ts'
import type { Detector } from './finding.ts'
import { codiceFiscale, nationalIds } from './national-ids.ts'
import { ip, mac } from './network.ts'
import { crypto, jwt, PRIVATE_KEY_WORD, privateKey } from './tokens.ts'

/** Names in which a number is found by its key, whatever its form. */
const NUMBER_WORDS = ['insert into', PRIVATE_KEY_WORD]

export interface Detectors {
  readonly features: Features
  readonly all: readonly Detector[]
}

/** `more`: custom rules, and the keywords they need. */
export function createDetectors(
  keys: SensitiveKeys,
  more: readonly Detector[],
  words: readonly string[],
): Detectors {
  const keywords = secretRules().rules.flatMap((rule) => rule.keywords.filter((word) => !isWeak(word)))
  const features = new Features([...new Set([...keywords, ...NUMBER_WORDS, ...words])], CONFIRMED)
  const all = [
    privateKey,
    jwt,
    secrets(features.words.words),
    urlCredentials,
    assignments(keys),
    email,
    card,
    iban,
    nationalIds,
    codiceFiscale,
    crypto,
    ip,
    mac,
    phone,
    ...more,
  ]
  return { features, all }
}
