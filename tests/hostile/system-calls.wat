;; Asks for the system calls that the host's own guests have.
(module
  (import "sandglass" "syscall" (func (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")))
