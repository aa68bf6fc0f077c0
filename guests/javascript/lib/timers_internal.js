// What node's own files take from its timers.
"use strict";

const timers = require("timers");

module.exports = { kTimeout: Symbol("timeout"), setUnrefTimeout: (callback, delay) => timers.setTimeout(callback, delay).unref(), Timeout: Object, setTimeout: timers.setTimeout };
