/** What is used of WebAssembly: the types of Node.js 20 leave it to the browser's. */
declare namespace WebAssembly {
  interface Module {
    readonly module: never
  }
  interface Instance {
    readonly exports: Record<string, unknown>
  }
  interface Memory {
    readonly buffer: ArrayBuffer
    grow(pages: number): number
  }
  const Module: new (bytes: Uint8Array) => Module
  type Imports = Readonly<Record<string, Readonly<Record<string, (...values: number[]) => number>>>>
  const Instance: new (module: Module, imports?: Imports) => Instance
  const CompileError: new () => Error
  const RuntimeError: new () => Error
}
