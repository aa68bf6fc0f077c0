;; Asks for 4 GiB of randomness, and then for 16 MiB for ever, in few instructions.
(module
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 257)
  (func (export "_start")
    (drop (call $random (i32.const 0) (i32.const -1)))
    (loop $again
      (drop (call $random (i32.const 0) (i32.const 16777216)))
      (br $again))))
