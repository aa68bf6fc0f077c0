// The module `module`. Its functions are those of the class, seen by those who import them by name too.
"use strict";

const { Module } = require("module_cjs");

for (const name of ["createRequire", "isBuiltin", "builtinModules", "findSourceMap", "register", "syncBuiltinESMExports", "Module"]) {
  Object.defineProperty(Module, name, { value: Module[name], enumerable: true, configurable: true, writable: true });
}
module.exports = Module;
