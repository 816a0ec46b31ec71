/** An interned attribute key. Known names are interned at load by `keyId('…')`; the scan interns what it meets, up to a bound. */
export type KeyId = number & { readonly __key: unique symbol }
