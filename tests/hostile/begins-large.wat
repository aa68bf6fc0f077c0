;; Has more memory than it may before its first instruction.
(module (memory (export "memory") 4096)
  (func (export "_start")))
