// The modules that programs can import by name.
"use strict";

const files = {
  assert: "assert", "assert/strict": "assert/strict", async_hooks: "async_hooks", buffer: "buffer", child_process: "child_process",
  console: "console_global", constants: "constants", crypto: "crypto", diagnostics_channel: "diagnostics_channel", events: "events", fs: "fs",
  "fs/promises": "fs_promises", module: "module_public", os: "os", path: "path", "path/posix": "path/posix", "path/win32": "path/win32",
  perf_hooks: "perf_hooks", process: "process", punycode: "punycode", querystring: "querystring", readline: "readline",
  "readline/promises": "readline/promises", stream: "stream", "stream/promises": "stream/promises", "stream/consumers": "stream/consumers", "stream/web": "stream/web",
  string_decoder: "string_decoder", sys: "util", timers: "timers_public", "timers/promises": "timers_promises", tty: "tty", url: "url",
  util: "util", "util/types": "util/types", vm: "vm", v8: "v8", worker_threads: "worker_threads", zlib: "zlib",
};
const networks = ["cluster", "dgram", "dns", "dns/promises", "http", "http2", "https", "inspector", "net", "tls"];
const onlyPrefixed = { test: "test", "test/reporters": "test_reporters" };

const names = [...Object.keys(files), ...networks].sort();

function plain(name) {
  return name.startsWith("node:") ? name.slice(5) : name;
}

function has(name) {
  const own = plain(name);
  return Object.hasOwn(files, own) || networks.includes(own) || (name.startsWith("node:") && Object.hasOwn(onlyPrefixed, own));
}

function load(name) {
  const own = plain(name);
  if (networks.includes(own)) return require("network").module(own);
  return require(files[own] ?? onlyPrefixed[own]);
}

module.exports = { names, has, load };
