;; Fills 48 MiB at a time, in few instructions: one bulk operation can't be interrupted.
(module (memory (export "memory") 768)
  (func (export "_start")
    (loop $again
      (memory.fill (i32.const 0) (i32.const 1) (i32.const 50331648))
      (br $again))))
