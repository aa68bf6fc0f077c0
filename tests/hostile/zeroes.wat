;; Asks the host to print more zeroes than there is memory in the world.
(component
  (import "wasi:io/error@0.2.0" (instance $error (export "error" (type (sub resource)))))
  (alias export $error "error" (type $failure))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (export "output-stream" (type $out (sub resource)))
    (alias outer 1 $failure (type $f0))
    (export "error" (type $failure (eq $f0)))
    (type $e0 (variant (case "last-operation-failed" (own $failure)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $e0)))
    (export "[method]output-stream.write-zeroes"
      (func (param "self" (borrow $out)) (param "len" u64) (result (result (error $stream-error)))))
    (export "[method]output-stream.blocking-write-zeroes-and-flush"
      (func (param "self" (borrow $out)) (param "len" u64) (result (result (error $stream-error)))))))
  (alias export $streams "output-stream" (type $out))
  (import "wasi:cli/stdout@0.2.0" (instance $stdout
    (alias outer 1 $out (type $o))
    (export "get-stdout" (func (result (own $o))))))
  (core module $memory (memory (export "memory") 1))
  (core instance $m (instantiate $memory))
  (core func $get (canon lower (func $stdout "get-stdout")))
  (core func $zeroes (canon lower (func $streams "[method]output-stream.write-zeroes") (memory (core memory $m "memory"))))
  (core func $flush (canon lower (func $streams "[method]output-stream.blocking-write-zeroes-and-flush") (memory (core memory $m "memory"))))
  (core module $code
    (import "h" "get" (func $get (result i32)))
    (import "h" "zeroes" (func $zeroes (param i32 i64 i32)))
    (import "h" "flush" (func $flush (param i32 i64 i32)))
    (func (export "zeroes") (call $zeroes (call $get) (i64.const 0x10000000000) (i32.const 0)))
    (func (export "flushed") (call $flush (call $get) (i64.const -1) (i32.const 0)))
    (func (export "flood") (local i32)
      (local.set 0 (call $get))
      (loop $again (call $zeroes (local.get 0) (i64.const 65536) (i32.const 0)) (br $again))))
  (core instance $host (export "get" (func $get)) (export "zeroes" (func $zeroes)) (export "flush" (func $flush)))
  (core instance $i (instantiate $code (with "h" (instance $host))))
  (func (export "zeroes") (canon lift (core func $i "zeroes")))
  (func (export "flushed") (canon lift (core func $i "flushed")))
  (func (export "flood") (canon lift (core func $i "flood"))))
