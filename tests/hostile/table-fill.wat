;; Fills and copies a large table, in few instructions.
(module (memory (export "memory") 1)
  (table $t 40000 funcref)
  (func (export "_start")
    (loop $again
      (table.fill $t (i32.const 0) (ref.null func) (i32.const 40000))
      (table.copy $t $t (i32.const 1) (i32.const 0) (i32.const 39999))
      (br $again))))
