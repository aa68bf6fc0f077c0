;; Writes the same 8 MiB of a file again and again, in few instructions.
(module
  (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pwrite" (func $pwrite (param i32 i32 i32 i64 i32) (result i32)))
  (memory (export "memory") 200)
  (data (i32.const 0) "workspace/again")
  (data (i32.const 32) "\00\00\01\00\00\00\80\00")
  (func (export "_start")
    (drop (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 15) (i32.const 1)
      (i64.const 0x1fffffff) (i64.const 0x1fffffff) (i32.const 0) (i32.const 64)))
    (loop $again
      (i32.store (i32.const 65536) (i32.add (i32.load (i32.const 65536)) (i32.const 1)))
      (drop (call $pwrite (i32.load (i32.const 64)) (i32.const 32) (i32.const 1) (i64.const 0) (i32.const 72)))
      (br $again))))
