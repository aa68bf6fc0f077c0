// The clock of node's own files.
"use strict";
module.exports = { now: () => Number(host.monotonic()) / 1e6, isBuildingSnapshot: () => false };
