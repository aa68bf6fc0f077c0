// The module `test/reporters`.
"use strict";

module.exports = {
  get dot() {
    return require("internal/test_runner/reporter/dot");
  },
  get junit() {
    return require("internal/test_runner/reporter/junit");
  },
  get spec() {
    return require("internal/test_runner/reporter/spec");
  },
  get tap() {
    return require("internal/test_runner/reporter/tap");
  },
};
