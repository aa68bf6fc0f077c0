;; Memory shared between threads: it could be neither limited nor taken back.
(module
  (memory (export "memory") 1 65536 shared)
  (func (export "_start")))
