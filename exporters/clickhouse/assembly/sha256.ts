/** SHA-256 (FIPS 180-4, section 6.2) over whole blocks of 64 bytes; `padded` makes them. Writes the first 16 bytes of the digest. */
export function sha256(blocks: usize, count: u32, out: usize): void {
  let h0: u32 = 0x6a09e667
  let h1: u32 = 0xbb67ae85
  let h2: u32 = 0x3c6ef372
  let h3: u32 = 0xa54ff53a
  let h4: u32 = 0x510e527f
  let h5: u32 = 0x9b05688c
  let h6: u32 = 0x1f83d9ab
  let h7: u32 = 0x5be0cd19
  for (let block: u32 = 0; block < count; block++) {
    schedule(blocks + ((<usize>block) << 6))
    let a = h0
    let b = h1
    let c = h2
    let d = h3
    let e = h4
    let f = h5
    let g = h6
    let h = h7
    for (let i: usize = 0; i < 256; i += 4) {
      const s1 = rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25)
      const t1 = h + s1 + (g ^ (e & (f ^ g))) + load<u32>(K + i) + load<u32>(W + i)
      const s0 = rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22)
      const t2 = s0 + ((a & b) | (c & (a | b)))
      h = g
      g = f
      f = e
      e = d + t1
      d = c
      c = b
      b = a
      a = t1 + t2
    }
    h0 += a
    h1 += b
    h2 += c
    h3 += d
    h4 += e
    h5 += f
    h6 += g
    h7 += h
  }
  store<u32>(out, bswap(h0))
  store<u32>(out, bswap(h1), 4)
  store<u32>(out, bswap(h2), 8)
  store<u32>(out, bswap(h3), 12)
}

function schedule(block: usize): void {
  for (let i: usize = 0; i < 64; i += 4) store<u32>(W + i, bswap(load<u32>(block + i)))
  for (let i: usize = 64; i < 256; i += 4) {
    const w15 = load<u32>(W + i - 60)
    const w2 = load<u32>(W + i - 8)
    const s0 = rotr(w15, 7) ^ rotr(w15, 18) ^ (w15 >> 3)
    const s1 = rotr(w2, 17) ^ rotr(w2, 19) ^ (w2 >> 10)
    store<u32>(W + i, load<u32>(W + i - 64) + s0 + load<u32>(W + i - 28) + s1)
  }
}

/** Blocks that a message of `size` bytes takes, with its padding. */
export function blocksOf(size: u32): u32 {
  return (size + 9 + 63) >> 6
}

/** Puts the padding behind a message of `size` bytes; what is between stays as it is and must be zero. */
export function pad(message: usize, size: u32): void {
  store<u8>(message + size, 0x80)
  store<u64>(message + ((<usize>blocksOf(size)) << 6) - 8, bswap((<u64>size) << 3))
}

const W: usize = memory.data(256)
const K: usize = memory.data<u32>([
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98,
  0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
  0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8,
  0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
  0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819,
  0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
  0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
  0xc67178f2,
])
