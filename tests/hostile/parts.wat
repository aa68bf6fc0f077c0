;; What a component may do with the host's resources: each function ends its own call and nothing else.
(component
  (import "wasi:io/poll@0.2.0" (instance $poll
    (export "pollable" (type $p (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $p))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (alias outer 1 $pollable (type $p))
    (export "subscribe-duration" (func (param "when" u64) (result (own $p))))))
  (import "wasi:random/random@0.2.0" (instance $random
    (export "get-random-bytes" (func (param "len" u64) (result (list u8))))
    (export "get-random-u64" (func (result u64)))))
  (core module $memory
    (memory (export "memory") 64)
    (global $next (mut i32) (i32.const 65536))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 65536)))
  (core instance $m (instantiate $memory))
  (core func $subscribe (canon lower (func $clock "subscribe-duration")))
  (core func $block (canon lower (func $poll "[method]pollable.block")))
  (core func $drop (canon resource.drop $pollable))
  (core func $bytes (canon lower (func $random "get-random-bytes")
    (memory (core memory $m "memory")) (realloc (core func $m "realloc"))))
  (core func $number (canon lower (func $random "get-random-u64")))
  (core module $code
    (import "h" "subscribe" (func $subscribe (param i64) (result i32)))
    (import "h" "block" (func $block (param i32)))
    (import "h" "drop" (func $drop (param i32)))
    (import "h" "bytes" (func $bytes (param i64 i32)))
    (import "h" "number" (func $number (result i64)))
    ;; Makes resources and keeps them.
    (func (export "keep") (loop $again (drop (call $subscribe (i64.const 3600000000000))) (br $again)))
    ;; Makes resources and lets them go.
    (func (export "churn") (loop $again (call $drop (call $subscribe (i64.const 3600000000000))) (br $again)))
    ;; Uses a resource that it has let go.
    (func (export "stale") (local i32)
      (local.set 0 (call $subscribe (i64.const 1)))
      (call $drop (local.get 0))
      (call $block (local.get 0)))
    ;; Uses what was never given to it.
    (func (export "guessed") (call $drop (i32.const 77)))
    (func (export "sleep") (call $block (call $subscribe (i64.const -1))))
    ;; Asks for more randomness than there is memory.
    (func (export "random") (call $bytes (i64.const 0x100000000) (i32.const 0)))
    ;; Asks for as much as is allowed, in few instructions.
    (func (export "random-loop") (loop $again (call $bytes (i64.const 1048576) (i32.const 0)) (br $again))))
  (core instance $host
    (export "subscribe" (func $subscribe)) (export "block" (func $block)) (export "drop" (func $drop))
    (export "bytes" (func $bytes)) (export "number" (func $number)))
  (core instance $i (instantiate $code (with "h" (instance $host))))
  (func (export "keep") (canon lift (core func $i "keep")))
  (func (export "churn") (canon lift (core func $i "churn")))
  (func (export "stale") (canon lift (core func $i "stale")))
  (func (export "guessed") (canon lift (core func $i "guessed")))
  (func (export "sleep") (canon lift (core func $i "sleep")))
  (func (export "random") (canon lift (core func $i "random")))
  (func (export "random-loop") (canon lift (core func $i "random-loop"))))
