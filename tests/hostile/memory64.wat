;; Memory of sixteen exbibytes.
(module
  (memory (export "memory") i64 1 0x1000000000000)
  (func (export "_start")))
