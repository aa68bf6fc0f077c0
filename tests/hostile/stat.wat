;; Looks up a path of four thousand bytes for ever.
(module
  (import "wasi_snapshot_preview1" "path_filestat_get" (func $stat (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start") (local $at i32)
    (loop $next
      (i32.store16 (local.get $at) (i32.const 0x2f2e)) ;; ./
      (local.set $at (i32.add (local.get $at) (i32.const 2)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 4000))))
    (loop $again
      (drop (call $stat (i32.const 3) (i32.const 1) (i32.const 0) (i32.const 4000) (i32.const 8192)))
      (br $again))))
