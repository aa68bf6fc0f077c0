// The start of the library: the functions that its files are given, what nearly every program uses, and the ways in for main.c. Files of node and ours are in one list; where both
// have a name, ours is meant. What a file needs of the engine it asks `host`; node's own ask `internalBinding`.
"use strict";

const cache = new Map();
const primordials = {};
host.builtin("internal/per_context/primordials")({}, primordials, {}, {});

/** Parts of node that are ours, under the names that its files know. */
const ALIASES = {
  "internal/assert/utils": "assert_utils",
  "internal/bootstrap/realm": "realm",
  "internal/timers": "timers_internal",
  "internal/perf/utils": "perf_utils",
  "internal/v8/startup_snapshot": "snapshot",
  "internal/encoding": "encoding",
  "internal/process/task_queues": "timers",
  "internal/util/lazy_dom_exception": "dom_exception",
  "internal/per_context/domexception": "dom_exception",
  "internal/worker/js_transferable": "clone",
  "internal/worker/io": "worker_threads",
  "internal/webstreams/transfer": "clone",
  "internal/console/global": "console_global",
  "internal/modules/cjs/loader": "module_cjs",
  "internal/modules/esm/loader": "test_main",
  "internal/test_runner/runner": "test_main",
  console: "console_global",
  fs: "fs",
  timers: "timers",
  "timers/promises": "timers_promises",
};

/** Gives the exports of a file of the library, running it at its first use. */
function requireBuiltin(name) {
  name = ALIASES[name] ?? name;
  let module = cache.get(name);
  if (module === undefined) {
    const make = host.builtin(name);
    if (make === undefined) throw new Error("no such part of the library: " + name);
    module = { exports: {}, id: name, loaded: false };
    cache.set(name, module);
    if (make.length === 6) {
      make(module.exports, requireBuiltin, module, requireBuiltin("process"), requireBuiltin("bindings").internalBinding, primordials);
    } else {
      make(module.exports, requireBuiltin, module, host, primordials);
    }
    module.loaded = true;
  }
  return module.exports;
}

host.primordials = primordials;
// What is loaded here is part of what every program begins with: none of it may look at arguments, environment, time or randomness.
for (const name of [
  "globals", "process", "timers", "bindings", "module_cjs", "module_esm", "path", "events", "buffer", "util", "internal/util/inspect", "console_global",
  "stdio", "fs", "url", "stream",
]) {
  requireBuiltin(name);
}
const session = requireBuiltin("session");
return {
  begin: requireBuiltin("process").begin,
  main: requireBuiltin("main").main,
  turn() {
    return session.turn(this.variables);
  },
};
