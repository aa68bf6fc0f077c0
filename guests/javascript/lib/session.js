// A session: code that goes on from turn to turn, over one global object.
"use strict";

const path = require("path");
const process = require("process");
const timers = require("timers");
const esm = require("module_esm");
const { Module, forgetPackages } = require("module_cjs");
const { inspect } = require("internal/util/inspect");

/** How a script is evaluated; see modules.c. */
const COMPILE_ONLY = 1;
const WITH_AWAIT = 2;
const REDECLARES = 4;
/** A result is for people to read: what is longer is better written to a file. */
const RESULT_CHARACTERS = 65536;
/** Turns whose text is kept for the messages of errors. */
const SOURCES = 64;

const sources = new Map();
const own = new Module("[session]");
let turns = 0;
let generation;
let failed = false;

/** Clones of this memory must not draw the same numbers. */
function reseed(now) {
  if (generation !== undefined && generation !== now) host.reseed();
  generation = now;
}

function define(name, value) {
  Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });
}

/** Makes the surroundings of a turn: `require` looks from the directory that the process is in. */
function begin() {
  if (turns === 0) {
    define("module", own);
    define("exports", own.exports);
    define("__filename", own.id);
    define("__dirname", ".");
    require("globals").lazyModules();
    process.setOnFatal(() => {
      failed = true;
      timers.stop(true);
    });
  }
  turns++;
  const directory = process.cwd();
  const file = path.join(directory, own.id);
  if (own.filename !== file) {
    own.filename = file;
    own.paths = Module._nodeModulePaths(directory);
    esm.referrer = file;
    define("require", own.makeRequire());
  }
  forgetPackages();
  process.freshInput();
  process.exitCode = undefined;
  failed = false;
  timers.stop(false);
}

/** Turns `import` declarations into what a script can do; lines stay where they are. */
function withoutImports(source) {
  const lines = (text) => "\n".repeat(text.split("\n").length - 1);
  const from = /^[ \t]*import\s+(?:([\w$]+)\s*(?:,\s*)?)?(?:\*\s*as\s+([\w$]+)\s*|\{([^}]*)\}\s*)?from\s*(['"])(.+?)\4\s*(?:with\s*\{[^}]*\}\s*)?;?/gm;
  const plain = /^[ \t]*import\s*(['"])(.+?)\1\s*;?/gm;
  return source
    .replace(from, (text, first, all, some, _, name) => {
      const given = `await import(${JSON.stringify(name)})`;
      const names = (some ?? "").split(",").map((one) => one.trim().replace(/\s+as\s+/, ": ")).filter(Boolean);
      if (first !== undefined && all === undefined) names.unshift(`default: ${first}`);
      if (all === undefined) return `const { ${names.join(", ")} } = ${given};${lines(text)}`;
      return `const ${all} = ${given}${first === undefined ? "" : `, ${first} = ${all}.default`};${lines(text)}`;
    })
    .replace(plain, (text, _, name) => `await import(${JSON.stringify(name)});${lines(text)}`);
}

function compiles(source, name, how) {
  try {
    host.evaluate(source, name, 1, how | COMPILE_ONLY);
    return true;
  } catch {
    return false;
  }
}

/** Gives the form in which code is evaluated, and how: an object is a value, as people mean it; `await` may be used anywhere. */
function formOf(source, name) {
  const plain = source.startsWith("#!") ? "//" + source : source;
  if (/^\s*\{/.test(plain) && !/;\s*$/.test(plain)) {
    for (const how of [0, WITH_AWAIT]) if (compiles(`(${plain}\n)`, name, how)) return [`(${plain}\n)`, how];
  }
  if (!/\bawait\b|^\s*import\b/m.test(plain) || compiles(plain, name, 0)) return [plain, 0];
  const script = withoutImports(plain);
  return compiles(script, name, WITH_AWAIT) ? [script, WITH_AWAIT] : [compiles(plain, name, WITH_AWAIT) ? plain : script, WITH_AWAIT];
}

/** Runs code to its end, with all that it starts. Gives the value of its last expression. */
function run(source, name) {
  let value;
  let settled = true;
  timers.guard(() => {
    const [text, how] = formOf(source, name);
    value = host.evaluate(text, name, 1, how | REDECLARES);
    if (how !== WITH_AWAIT) return;
    settled = false;
    value.then(
      (done) => {
        settled = true;
        value = done.value;
      },
      (error) => {
        settled = true;
        process.uncaught(error);
      },
    );
  }, []);
  timers.loop();
  if (settled || failed) return value;
  host.write(2, "Warning: Detected unsettled top-level await\n");
  process.exitCode = 13;
}

/** The text of a value as people read it. */
function shown(value) {
  const text = inspect(value);
  return text.length > RESULT_CHARACTERS ? text.slice(0, RESULT_CHARACTERS) + "..." : text;
}

/** One call of a session: its code and the sandbox's generation are the arguments. Gives its exit status, and its result if it has one. */
function turn(variables) {
  const [, source, now] = host.args();
  reseed(now);
  process.setVariables(variables);
  begin();
  const name = `[turn ${turns}]`;
  sources.set(name, source);
  if (sources.size > SOURCES) sources.delete(sources.keys().next().value);
  const value = run(source, name);
  let text;
  if (!failed && value !== undefined) {
    define("_", value);
    // What is asked to show itself is the program's.
    timers.guard(() => (text = shown(value)), []);
    timers.loop();
  }
  const status = failed ? 1 : Number(process.exitCode ?? 0) & 255;
  return [status, failed ? undefined : text];
}

module.exports = { turn, sources };
