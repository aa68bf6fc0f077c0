// The module `module`.
"use strict";
module.exports = require("module_cjs").Module;
