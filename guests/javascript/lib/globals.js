// Sets up the global object. What few programs use is loaded at its first use.
"use strict";

function define(name, value) {
  Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });
}

/** Loads a part of the library when somebody asks; without a key the whole of it is meant. */
function lazy(name, file, key = name) {
  Object.defineProperty(globalThis, name, {
    configurable: true,
    enumerable: false,
    get() {
      const value = key === null ? require(file) : require(file)[key];
      define(name, value);
      return value;
    },
    set(value) {
      define(name, value);
    },
  });
}

require("call_sites");
define("global", globalThis);
define("process", require("process"));
lazy("console", "console_global", null);

const timers = require("timers_public");
for (const name of ["setTimeout", "setInterval", "setImmediate", "clearTimeout", "clearInterval", "clearImmediate"]) {
  Object.defineProperty(globalThis, name, { value: timers[name], writable: true, configurable: true, enumerable: true });
}
define("queueMicrotask", require("timers").queueMicrotask);

lazy("Buffer", "buffer");
lazy("atob", "buffer");
lazy("btoa", "buffer");
lazy("Blob", "buffer");
lazy("File", "buffer");
lazy("TextEncoder", "encoding");
lazy("TextDecoder", "encoding");
lazy("URL", "internal/url");
lazy("URLSearchParams", "internal/url");
lazy("Event", "internal/event_target");
lazy("EventTarget", "internal/event_target");
lazy("AbortController", "internal/abort_controller");
lazy("AbortSignal", "internal/abort_controller");
lazy("DOMException", "dom_exception");
lazy("performance", "perf_hooks");
lazy("structuredClone", "clone");
lazy("MessageChannel", "worker_threads");
lazy("MessagePort", "worker_threads");
lazy("MessageEvent", "worker_threads");
for (const name of ["ReadableStream", "ReadableStreamDefaultReader", "ReadableStreamBYOBReader"]) lazy(name, "internal/webstreams/readablestream");
for (const name of ["WritableStream", "WritableStreamDefaultWriter"]) lazy(name, "internal/webstreams/writablestream");
lazy("TransformStream", "internal/webstreams/transformstream");
for (const name of ["ByteLengthQueuingStrategy", "CountQueuingStrategy"]) lazy(name, "internal/webstreams/queuingstrategies");
for (const name of ["TextEncoderStream", "TextDecoderStream"]) lazy(name, "internal/webstreams/encoding");
for (const name of ["CompressionStream", "DecompressionStream"]) lazy(name, "internal/webstreams/compression");
lazy("fetch", "network");
lazy("Headers", "fetch_types");
lazy("Request", "fetch_types");
lazy("Response", "fetch_types");
lazy("crypto", "crypto", "webcrypto");
lazy("Intl", "intl");

/** In code of the command line every module of node is a global variable. */
function lazyModules() {
  const builtins = require("builtins");
  for (const name of builtins.names) {
    if (name.includes("/") || name in globalThis || name === "sys" || name === "constants") continue;
    Object.defineProperty(globalThis, name, {
      configurable: true,
      enumerable: false,
      get: () => builtins.load(name),
      set: (value) => define(name, value),
    });
  }
}
module.exports = { lazyModules };

// The engine has no tables of locales: these speak American English, as node does without settings.
for (const [prototype, methods] of [
  [Number.prototype, ["toLocaleString"]],
  [BigInt.prototype, ["toLocaleString"]],
  [Date.prototype, ["toLocaleString", "toLocaleDateString", "toLocaleTimeString"]],
  [String.prototype, ["localeCompare"]],
]) {
  for (const method of methods) {
    const kind = prototype[Symbol.toStringTag] ?? prototype.constructor.name;
    Object.defineProperty(prototype, method, {
      configurable: true,
      writable: true,
      value: {
        [method](...args) {
          return require("intl").methods[kind][method].apply(this, args);
        },
      }[method],
    });
  }
}
