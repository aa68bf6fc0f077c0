;; Calls a function through a table as if it were another.
(module (memory (export "memory") 1)
  (table 1 funcref)
  (elem (i32.const 0) $one)
  (type $other (func (param i64) (result f64)))
  (func $one (result i32) (i32.const 1))
  (func (export "_start") (drop (call_indirect (type $other) (i64.const 0) (i32.const 0)))))
