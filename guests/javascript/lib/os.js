// The module `os`: what there is to know of a sandbox.
"use strict";

const { constants } = require("bindings");
const { systemError } = require("errors");
const process = require("process");

const read = (file) => {
  const text = host.readFile(file, true);
  return typeof text === "string" ? text : "";
};

module.exports = {
  EOL: "\n",
  devNull: "/dev/null",
  constants: require("bindings").constants.os,
  arch: () => process.arch,
  availableParallelism: () => 1,
  cpus: () => [{ model: "sandbox", speed: 0, times: { user: 0, nice: 0, sys: 0, idle: 0, irq: 0 } }],
  endianness: () => "LE",
  freemem: () => host.memory()[0],
  totalmem: () => host.memory()[0],
  getPriority: () => 0,
  setPriority() {},
  homedir: () => process.env.HOME ?? "/workspace",
  hostname: () => read("/etc/hostname").trim() || "sandbox",
  loadavg: () => [0, 0, 0],
  machine: () => "wasm32",
  networkInterfaces: () => ({}),
  platform: () => "linux",
  release: () => "6.1.0-sandglass",
  tmpdir: () => (process.env.TMPDIR ?? "/tmp").replace(/(?<=.)\/$/, ""),
  type: () => "Linux",
  uptime: () => process.uptime(),
  userInfo: () => ({ uid: 1000, gid: 1000, username: "agent", homedir: module.exports.homedir(), shell: "/bin/bash" }),
  version: () => "#1 Sandglass",
};
