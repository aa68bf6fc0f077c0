;; All the memory there can be, from the start.
(module (memory (export "memory") 65536)
  (func (export "_start")))
