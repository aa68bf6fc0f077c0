;; Reads the root for ever, from places that there are not, too, into a buffer of 16 MiB.
(module
  (import "wasi_snapshot_preview1" "fd_readdir" (func $readdir (param i32 i32 i32 i64 i32) (result i32)))
  (memory (export "memory") 260)
  (func (export "_start") (local $cookie i64)
    (loop $again
      (drop (call $readdir (i32.const 3) (i32.const 65536) (i32.const 16777216) (i64.const 0) (i32.const 0)))
      (drop (call $readdir (i32.const 3) (i32.const 65536) (i32.const 16777216) (local.get $cookie) (i32.const 0)))
      (local.set $cookie (i64.sub (i64.mul (local.get $cookie) (i64.const 6364136223846793005)) (i64.const 1)))
      (br $again))))
