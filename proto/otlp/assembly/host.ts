/* Asked of scan.ts. */

/** The id of the key at `at`; 0 where it gets none. */
export declare function keyId(at: usize, size: u32): i32

/** One that no signature had. */
export declare function signatureId(): i32
