;; Traps before its entry is called.
(module (memory (export "memory") 1)
  (func $start unreachable)
  (start $start)
  (func (export "_start")))
