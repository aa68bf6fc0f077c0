// What node's own files take from its timers.
"use strict";

const timers = require("timers");

module.exports = {
  TIMEOUT_MAX: 2 ** 31 - 1, kTimeout: Symbol("timeout"), setUnrefTimeout: (callback, delay) => timers.setTimeout(callback, delay).unref(), Timeout: Object,
  setTimeout: timers.setTimeout,
};
