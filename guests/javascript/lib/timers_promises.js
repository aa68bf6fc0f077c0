// The module `timers/promises`.
"use strict";

const timers = require("timers");
const { AbortError } = require("internal/errors");

function waiting(start, stop, signal) {
  if (signal?.aborted) return Promise.reject(new AbortError(undefined, { cause: signal.reason }));
  return new Promise((resolve, reject) => {
    const timer = start(resolve);
    signal?.addEventListener("abort", () => {
      stop(timer);
      reject(new AbortError(undefined, { cause: signal.reason }));
    }, { once: true });
  });
}

function setTimeout(delay, value, options = {}) {
  return waiting((resolve) => {
    const timer = timers.setTimeout(resolve, delay, value);
    if (options.ref === false) timer.unref();
    return timer;
  }, timers.clearTimeout, options.signal);
}

function setImmediate(value, options = {}) {
  return waiting((resolve) => timers.setImmediate(resolve, value), timers.clearImmediate, options.signal);
}

async function* setInterval(delay, value, options = {}) {
  for (;;) yield await setTimeout(delay, value, options);
}

module.exports = { setTimeout, setImmediate, setInterval, scheduler: { wait: (delay, options) => setTimeout(delay, undefined, options), yield: setImmediate } };
