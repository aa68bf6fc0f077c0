;; Waits for more than anybody has, then for as much as is allowed, for ever; none of it takes long.
(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 800)
  (func (export "_start")
    (drop (call $poll (i32.const 0) (i32.const 0) (i32.const 1000000) (i32.const 0)))
    (drop (call $poll (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
    (drop (call $poll (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 0)))
    (loop $again
      (drop (call $poll (i32.const 0) (i32.const 1048576) (i32.const 4096) (i32.const 52428700)))
      (br $again))))
