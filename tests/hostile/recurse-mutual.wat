;; Two functions call one another through a table for ever, with results that keep the frames.
(module (memory (export "memory") 1)
  (table 2 funcref)
  (elem (i32.const 0) $even $odd)
  (type $step (func (param i64) (result i64)))
  (func $even (type $step) (i64.add (local.get 0) (call_indirect (type $step) (i64.add (local.get 0) (i64.const 1)) (i32.const 1))))
  (func $odd (type $step) (i64.mul (local.get 0) (call_indirect (type $step) (i64.add (local.get 0) (i64.const 1)) (i32.const 0))))
  (func (export "_start") (drop (call $even (i64.const 0)))))
