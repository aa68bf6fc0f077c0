;; Sleeps until the end of numbers, by both clocks.
(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (i32.store (i32.const 16) (i32.const 1))
    (i64.store (i32.const 24) (i64.const -1))
    (i64.store (i32.const 72) (i64.const -1))
    (i32.store16 (i32.const 88) (i32.const 1))
    (loop $again
      (drop (call $poll (i32.const 0) (i32.const 1024) (i32.const 2) (i32.const 2048)))
      (br $again))))
