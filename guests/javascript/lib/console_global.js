// The global console, over node's own.
"use strict";

const { Console } = require("internal/console/constructor");
const process = require("process");

const console = new Console({
  get stdout() {
    return process.stdout;
  },
  get stderr() {
    return process.stderr;
  },
});
console.Console = Console;
console.context = () => console;
console.createTask = (name) => ({ run: (callback) => callback() });
Object.defineProperty(console, Symbol.toStringTag, { value: "console", configurable: true });

module.exports = console;
