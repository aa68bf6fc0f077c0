// What node's own files ask of the list of its modules.
"use strict";

const builtins = require("builtins");

const BuiltinModule = {
  exists: (name) => builtins.has(name),
  canBeRequiredByUsers: (name) => builtins.has(name),
  canBeRequiredWithoutScheme: (name) => builtins.has(name),
  normalizeRequirableId: (name) => (builtins.has(name) ? name : undefined),
  isBuiltin: (name) => builtins.has(name),
  getSchemeOnlyModuleNames: () => ["test"],
};

module.exports = { BuiltinModule };
