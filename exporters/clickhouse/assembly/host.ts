/* Asked of kernel.ts. A size is that of the bytes left in the scratch area. */

/** The bytes of an interned key. */
export declare function keyBytes(id: i32): u32

/** The text of a value; of any, but asked only where it is neither a string nor an integer nor a bool. */
export declare function valueText(ref: i32): u32

/** The number in an attribute; 0 where it is no count. */
export declare function count(ref: i32): u32
