// The module `zlib`: gzip and gunzip by the commands of that name.
"use strict";

const { Buffer } = require("buffer");
const { unavailable } = require("errors");
const timers = require("timers");

function through(command, args, data) {
  const outcome = require("child_process").spawnSync(command, args, { input: Buffer.from(data), maxBuffer: 2 ** 30 });
  if (outcome.error) throw outcome.error;
  if (outcome.status !== 0) throw Object.assign(new Error("incorrect header check"), { errno: -3, code: "Z_DATA_ERROR" });
  return outcome.stdout;
}

const exported = {
  gzipSync: (data) => through("gzip", ["-nc"], data),
  gunzipSync: (data) => through("gzip", ["-dc"], data),
  unzipSync: (data) => through("gzip", ["-dc"], data),
  constants: {},
};
for (const name of ["gzip", "gunzip", "unzip"]) {
  exported[name] = (data, options, callback = options) => {
    let outcome;
    try {
      outcome = [null, exported[`${name}Sync`](data)];
    } catch (error) {
      outcome = [error];
    }
    timers.later(callback, ...outcome);
  };
}
for (const name of ["deflateSync", "inflateSync", "deflateRawSync", "inflateRawSync", "brotliCompressSync", "brotliDecompressSync", "createGzip", "createGunzip", "createDeflate", "createInflate", "deflate", "inflate"]) {
  exported[name] = () => {
    throw unavailable(`zlib.${name}`, "gzipSync and gunzipSync are there, and the command gzip");
  };
}

module.exports = exported;
