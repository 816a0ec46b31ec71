import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** The module that the build has put there, compiled when it is first asked for. */
export function wasmModule(url: URL): () => WebAssembly.Module {
  let module: WebAssembly.Module | undefined
  return () => (module ??= new WebAssembly.Module(bytesOf(url)))
}

function bytesOf(url: URL): Uint8Array {
  try {
    return readFileSync(url)
  } catch (cause) {
    throw new Error(`${fileURLToPath(url)} cannot be read: \`npm run build\` makes it`, { cause })
  }
}
