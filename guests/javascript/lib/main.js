// The command line of node: what to run, and how it ends.
"use strict";

const VERSION = "v20.19.2";
const WITH_VALUE = new Set([
  "--require", "-r", "--import", "--loader", "--experimental-loader", "--conditions", "-C", "--input-type", "--test-name-pattern",
  "--test-reporter", "--test-reporter-destination", "--env-file", "--icu-data-dir", "--title", "--stack-size",
]);
const HELP = `Usage: node [options] [ script.js ] [arguments]

Options:
  -                        script read from stdin (default if no file name is provided)
  --                       indicate the end of node options
  -c, --check              syntax check script without executing
  -e, --eval=...           evaluate script
  -h, --help               print node command line options
  -p, --print [...]        evaluate script and print result
  -r, --require=...        CommonJS module to preload (option can be repeated)
  --input-type=...         set module type for string input
  --test                   run the files named test.js, *.test.js and the like
  --test-name-pattern=...  run tests whose names match only
  --test-reporter=...      tap, spec, dot or junit
  -v, --version            print Node.js version
`;

function usage(message) {
  host.write(2, `node: ${message}\n`);
  return 9;
}

/** Takes the command line apart. */
function parse(words) {
  const wanted = { args: [], requires: [], options: [] };
  let index = 0;
  const value = (word) => {
    const equals = word.indexOf("=");
    return equals >= 0 ? word.slice(equals + 1) : words[index++];
  };
  while (index < words.length) {
    const word = words[index];
    if (word === "-" || !word.startsWith("-")) break;
    index++;
    if (word === "--") break;
    const name = word.split("=")[0];
    if (name === "-v" || name === "--version") wanted.version = true;
    else if (name === "-h" || name === "--help") wanted.help = true;
    else if (name === "-e" || name === "--eval") wanted.code = value(word);
    else if (name === "-p" || name === "--print" || name === "-pe") (wanted.print = true), (wanted.code = value(word));
    else if (name === "-c" || name === "--check") wanted.check = true;
    else if (name === "-i" || name === "--interactive") wanted.interactive = true;
    else if (name === "-r" || name === "--require" || name === "--import") wanted.requires.push(value(word));
    else if (name === "--input-type") wanted.inputType = value(word);
    else if (name === "--test") wanted.test = true;
    else if (WITH_VALUE.has(name)) wanted.options.push([name, value(word)]);
    else if (/^-[a-zA-Z]$/.test(name)) return { bad: `${word}: bad option`, args: [] };
    else wanted.options.push([name, word.includes("=") ? word.slice(word.indexOf("=") + 1) : true]);
  }
  wanted.args = words.slice(index);
  return wanted;
}

function run(wanted, process) {
  const { Module, runMain, compileFunction, looksLikeEsm } = require("module_cjs");
  const esm = require("module_esm");
  for (const name of wanted.requires) Module.createRequire(process.cwd() + "/").call(null, name);
  const source = wanted.code ?? (wanted.args.length === 0 || wanted.args[0] === "-" ? readStdin() : undefined);
  if (source === undefined) {
    const [file, ...rest] = wanted.args;
    process.argv = [process.execPath, require("path").resolve(file), ...rest];
    return runMain(process.argv[1], wanted.check);
  }
  process.argv = [process.execPath, ...(wanted.code === undefined ? ["-", ...wanted.args.slice(1)] : wanted.args)];
  const name = wanted.code === undefined ? "[stdin]" : "[eval]";
  module.exports.evaluated = source;
  if (wanted.check) return compileFunction(source, name);
  if (wanted.inputType === "module") return esm.runSource(source, process.cwd() + "/" + name + "1");
  const own = new Module(name);
  own.filename = require("path").join(process.cwd(), name);
  own.paths = Module._nodeModulePaths(process.cwd());
  const define = (key, value) => Object.defineProperty(globalThis, key, { value, writable: true, configurable: true, enumerable: true });
  define("module", own);
  define("exports", own.exports);
  define("require", own.makeRequire());
  define("__filename", name);
  define("__dirname", ".");
  require("globals").lazyModules();
  esm.referrer = process.cwd() + "/" + name;
  if (wanted.inputType === undefined && looksLikeEsm(source, process.cwd() + "/" + name)) {
    return esm.runSource(source, process.cwd() + "/" + name + "1");
  }
  const result = host.evaluate(source, name, 1);
  if (wanted.print) require("console_global").log(result);
}

function readStdin() {
  const text = host.readFile("/dev/fd/0", true);
  if (typeof text === "string") return text;
  const parts = [];
  const bytes = new Uint8Array(65536);
  for (;;) {
    const count = host.read(0, bytes, 0, bytes.length, -1);
    if (count <= 0) break;
    parts.push(bytes.slice(0, count));
  }
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  parts.reduce((at, part) => (all.set(part, at), at + part.length), 0);
  return host.decode(all, 0, 0, all.length);
}

/** Runs the program that the command line asks for, and gives its exit status. */
function main() {
  const words = host.args();
  const wanted = parse(words.slice(1));
  if (wanted.bad) return usage(wanted.bad);
  if (wanted.version) return host.write(1, `${VERSION}\n`), 0;
  if (wanted.help) return host.write(1, HELP), 0;
  require("globals");
  const process = require("process");
  process.execArgv = words.slice(1, words.length - wanted.args.length).filter((word) => word !== wanted.code);
  const timers = require("timers");
  const settings = require("bindings").options;
  for (const [name, value] of wanted.options) {
    if (Array.isArray(settings[name])) settings[name].push(value);
    else settings[name] = value;
  }
  if (wanted.test) return require("test_main").main(wanted, process);
  timers.guard(() => run(wanted, process), []);
  process.finish();
  return 0;
}

module.exports = { main, evaluated: "" };
