;; An entry that wants something.
(module (memory (export "memory") 1)
  (func (export "_start") (param i64) (result f32) (f32.const 0)))
