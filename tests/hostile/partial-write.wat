;; Makes a directory and half a file, then traps: nothing of it may stay.
(module
  (import "wasi_snapshot_preview1" "path_create_directory" (func $mkdir (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "workspace/half")
  (data (i32.const 32) "workspace/kept.txt")
  (data (i32.const 64) "\00\00\00\00\0e\00\00\00")
  (func (export "_start")
    (drop (call $mkdir (i32.const 3) (i32.const 0) (i32.const 14)))
    ;; Cuts the file that was there, too.
    (drop (call $open (i32.const 3) (i32.const 0) (i32.const 32) (i32.const 18) (i32.const 9)
      (i64.const 0x1fffffff) (i64.const 0x1fffffff) (i32.const 0) (i32.const 80)))
    (drop (call $write (i32.load (i32.const 80)) (i32.const 64) (i32.const 1) (i32.const 84)))
    unreachable))
