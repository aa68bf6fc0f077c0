;; Reads randomness into the same 16 MiB a thousand times with one call, then 16 MiB a call, for ever.
(module
  (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 300)
  (data (i32.const 0) "dev/urandom")
  (func (export "_start") (local $at i32) (local $fd i32)
    (drop (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 11) (i32.const 0)
      (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 64)))
    (local.set $fd (i32.load (i32.const 64)))
    (local.set $at (i32.const 1024))
    (loop $next
      (i32.store (local.get $at) (i32.const 65536))
      (i32.store offset=4 (local.get $at) (i32.const 16777216))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 9216))))
    (loop $again
      (drop (call $read (local.get $fd) (i32.const 1024) (i32.const 1024) (i32.const 72)))
      (drop (call $read (local.get $fd) (i32.const 1024) (i32.const 1) (i32.const 72)))
      (br $again))))
