;; The prefilter's inner loops (byte-scanner.ts has the same in TypeScript, and says what they mean).
;; Memory: 0 classes, one byte each; 256 pairs (keep, add) of 32-bit words; 4096 the bitmap of fours; 135168 the text.
;; `npm run wasm` makes scan.wasm of this.
(module
  (memory (export "memory") 3)

  ;; FEATURE bits of the bytes [at, end).
  (func (export "features") (param $at i32) (param $end i32) (result i32)
    (local $byte i32) (local $class i32) (local $pair i32) (local $three i32) (local $hit i32) (local $counters i32) (local $seen i32)
    (local.set $counters (i32.const 0x302)) ;; START
    (block $done
      (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
      (loop $next
        (local.set $byte (i32.load8_u (local.get $at)))
        ;; A word of the bitmap belongs to three characters, a bit of it to the fourth: its class.
        (local.set $class (i32.load8_u (local.get $byte)))
        (local.set $hit
          (i32.or
            (local.get $hit)
            (i32.shr_u (i32.load offset=4096 (i32.shl (local.get $three) (i32.const 2))) (local.get $class))))
        (local.set $three
          (i32.and
            (i32.or (i32.shl (local.get $three) (i32.const 5)) (local.get $class))
            (i32.const 0x7fff)))
        (local.set $pair (i32.shl (local.get $byte) (i32.const 3)))
        (local.set $counters
          (i32.add
            (i32.and (local.get $counters) (i32.load offset=256 (local.get $pair)))
            (i32.load offset=260 (local.get $pair))))
        (local.set $seen (i32.or (local.get $seen) (local.get $counters)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br_if $next (i32.lt_u (local.get $at) (local.get $end)))))
    (i32.or
      (i32.and (local.get $seen) (i32.const 0x10100808)) ;; THRESHOLDS
      (i32.shl (i32.and (local.get $hit) (i32.const 1)) (i32.const 25)))) ;; FEATURE.word

  ;; Where the first digit of [at, end) stands; `end` without one. Reads up to 15 bytes past `end`.
  (func (export "digit") (param $at i32) (param $end i32) (result i32)
    (local $digits i32)
    (block $none
      (loop $next
        (br_if $none (i32.ge_u (local.get $at) (local.get $end)))
        (local.set $digits
          (i8x16.bitmask
            (i8x16.lt_u
              (i8x16.sub (v128.load (local.get $at)) (i8x16.splat (i32.const 48)))
              (i8x16.splat (i32.const 10)))))
        (if (local.get $digits)
          (then
            (local.set $at (i32.add (local.get $at) (i32.ctz (local.get $digits))))
            (return (select (local.get $at) (local.get $end) (i32.lt_u (local.get $at) (local.get $end))))))
        (local.set $at (i32.add (local.get $at) (i32.const 16)))
        (br $next)))
    (local.get $end)))
