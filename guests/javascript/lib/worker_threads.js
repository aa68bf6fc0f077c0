// The module `worker_threads`: there is one thread.
"use strict";
const { unavailable } = require("errors");
class Worker {
  constructor() {
    throw unavailable("a worker thread", "start another program with child_process");
  }
}
module.exports = { isMainThread: true, parentPort: null, workerData: null, threadId: 0, resourceLimits: {}, Worker, SHARE_ENV: Symbol("SHARE_ENV") };
