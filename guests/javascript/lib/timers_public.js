// The module `timers`.
"use strict";

const timers = require("timers");
const { promisify } = require("internal/util");

const exported = {
  setTimeout: timers.setTimeout,
  clearTimeout: timers.clearTimeout,
  setInterval: timers.setInterval,
  clearInterval: timers.clearInterval,
  setImmediate: timers.setImmediate,
  clearImmediate: timers.clearImmediate,
  get promises() {
    return require("timers_promises");
  },
};
for (const name of ["setTimeout", "setImmediate"]) {
  Object.defineProperty(timers[name], promisify.custom, { enumerable: true, get: () => require("timers_promises")[name] });
}

module.exports = exported;
