// `node --test`: the files of tests, run one after the other in this process, and what the runner asks of the loaders of modules.
"use strict";

const path = require("path");
const cjs = require("module_cjs");

const ENDING = /\.[cm]?js$/;
const NAME = /((^test(-.+)?)|(.+[.\-_]test))\.[cm]?js$/;

/** Gives the files of tests below a directory: by their names, and everything in a folder called `test`. */
function search(directory, isWanted, found) {
  for (const entry of require("fs").readdirSync(directory, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const file = path.join(directory, entry.name);
    if (entry.isDirectory()) {
      if (entry.name !== "node_modules" && !entry.name.startsWith(".git")) search(file, isWanted || entry.name === "test", found);
    } else if (isWanted ? ENDING.test(entry.name) : NAME.test(entry.name)) {
      found.push(file);
    }
  }
  return found;
}

function main(wanted, process) {
  const fs = require("fs");
  const files = [];
  for (const word of wanted.args.length === 0 ? [process.cwd()] : wanted.args) {
    const file = path.resolve(word);
    const about = fs.statSync(file, { throwIfNoEntry: false });
    if (about === undefined) {
      host.write(2, `Could not find '${file}'\n`);
      return 1;
    }
    if (about.isDirectory()) search(file, path.basename(file) === "test", files);
    else files.push(file);
  }
  const timers = require("timers");
  require("globals").lazyModules();
  require("test");
  for (const file of files) timers.guard(() => cjs.runMain(file), []);
  process.finish();
  return 0;
}

/** What node's runner asks of the loader of modules: a reporter that is a module of its own. */
function getOrInitializeCascadedLoader() {
  return { import: (name, parent) => import(require("module_esm").resolve(name, parent)) };
}

function run() {
  throw Object.assign(new Error("run() starts processes for files of tests; use `node --test` instead"), { code: "ERR_FEATURE_UNAVAILABLE_ON_PLATFORM" });
}

module.exports = { main, run, getOrInitializeCascadedLoader };
