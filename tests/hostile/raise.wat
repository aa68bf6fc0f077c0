;; Raises every signal, also those that there are not; the host is no process of its.
(module
  (import "wasi_snapshot_preview1" "proc_raise" (func $raise (param i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start") (local $n i32)
    (loop $next
      (if (i32.eqz (call $raise (local.get $n))) (then unreachable))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $n) (i32.const 31))))
    (drop (call $raise (i32.const 200)))))
