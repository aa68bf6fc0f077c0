// The object `process`, and what happens to errors that nobody catches.
"use strict";

const timers = require("timers");
const { coded, invalidArgType, systemError } = require("errors");

const VERSION = "v20.19.2";
let started = 0n;

// Files of node that are loaded on the way already have this object.
const process = exports;

const variables = {};
// As node's, the environment holds strings only.
process.env = new Proxy(variables, {
  set(target, name, value) {
    if (typeof name === "symbol" || typeof value === "symbol") throw new TypeError("Cannot convert a Symbol value to a string");
    target[name] = String(value);
    return true;
  },
  defineProperty(target, name, descriptor) {
    if ("value" in descriptor) descriptor.value = String(descriptor.value);
    return Reflect.defineProperty(target, name, descriptor);
  },
});

Object.assign(process, {
  title: "node",
  version: VERSION,
  versions: { node: VERSION.slice(1), quickjs: host.engineVersion(), modules: "115", unicode: "17.0" },
  arch: "wasm32",
  platform: "linux",
  release: { name: "node" },
  argv: ["/usr/bin/node"],
  argv0: "node",
  execArgv: [],
  execPath: "/usr/bin/node",
  exitCode: undefined,
  pid: 1,
  ppid: 0,
  config: { target_defaults: {}, variables: {} },
  features: { inspector: false, typescript: false, tls: false },
  report: undefined,
  allowedNodeEnvironmentFlags: new Set(),

  cwd() {
    const found = host.cwd();
    if (typeof found === "number") throw systemError(found, "uv_cwd");
    return found;
  },
  chdir(path) {
    if (typeof path !== "string") throw invalidArgType("directory", "string", path);
    const before = process.cwd();
    const result = host.chdir(path);
    if (result < 0) throw systemError(result, "chdir", before, path);
  },
  umask: () => 0o022,
  getuid: () => 1000,
  geteuid: () => 1000,
  getgid: () => 1000,
  getegid: () => 1000,
  getgroups: () => [1000],
  uptime: () => Number(host.monotonic() - started) / 1e9,
  hrtime: Object.assign(
    function hrtime(before) {
      const now = host.monotonic();
      let seconds = Number(now / 1000000000n);
      let rest = Number(now % 1000000000n);
      if (before !== undefined) {
        seconds -= before[0];
        rest -= before[1];
        if (rest < 0) (seconds -= 1), (rest += 1e9);
      }
      return [seconds, rest];
    },
    { bigint: () => host.monotonic() },
  ),
  memoryUsage: Object.assign(
    function memoryUsage() {
      const [all, used] = host.memory();
      return { rss: all, heapTotal: all, heapUsed: used, external: 0, arrayBuffers: 0 };
    },
    { rss: () => host.memory()[0] },
  ),
  cpuUsage(before) {
    const user = Number((host.monotonic() - started) / 1000n);
    return { user: user - (before?.user ?? 0), system: 0 };
  },
  resourceUsage: () => ({ userCPUTime: Number((host.monotonic() - started) / 1000n), systemCPUTime: 0, maxRSS: host.memory()[0] / 1024 }),
  constrainedMemory: () => 0,
  nextTick: timers.nextTick,
  emitWarning(warning, options, code) {
    const kind = typeof options === "string" ? options : options?.type ?? "Warning";
    code = typeof options === "object" ? options?.code : code;
    let error = warning;
    if (typeof warning === "string") {
      error = new Error(warning);
      error.name = kind;
      if (code) error.code = code;
    }
    timers.nextTick(() => {
      if (process.emit("warning", error) || variables.NODE_NO_WARNINGS === "1") return;
      host.write(2, `(node:1) ${error.code ? `[${error.code}] ` : ""}${error.name}: ${error.message}\n`);
    });
  },
  exit(code) {
    if (code !== undefined) process.exitCode = code;
    leave();
  },
  reallyExit: (code) => host.exit(code ?? 0),
  abort: () => host.exit(134),
  kill(pid, signal = "SIGTERM") {
    const { signals } = require("bindings");
    const number = typeof signal === "number" ? signal : signals[signal];
    if (number === undefined) throw coded(TypeError, "ERR_UNKNOWN_SIGNAL", `Unknown signal: ${signal}`);
    const result = host.kill(pid, number);
    if (result < 0) throw systemError(result, "kill");
    return true;
  },
  binding(name) {
    throw new Error(`No such module: ${name}`);
  },
  getBuiltinModule: (name) => (require("builtins").has(name) ? require("builtins").load(name) : undefined),
  setUncaughtExceptionCaptureCallback(callback) {
    capture = callback;
  },
  hasUncaughtExceptionCaptureCallback: () => capture !== null,
});

let capture = null;
let leaving = false;
/** What happens after an error that nobody caught was told; without it the program ends. */
let onFatal = null;
/** What still has to run when nothing else is left to do. */
let atEnd = null;

function exitStatus() {
  const code = process.exitCode;
  return code === undefined || code === null ? 0 : Number(code);
}

/** Emits `exit` and ends the program. */
function leave() {
  if (!leaving) {
    leaving = true;
    process._exiting = true;
    try {
      process.emit("exit", exitStatus());
    } catch (error) {
      report(error);
      process.exitCode = 7;
    }
  }
  host.exit(exitStatus());
}

/** The end of a program that ran out of work: `beforeExit` may find more. */
function finish() {
  timers.loop();
  for (;;) {
    if (!process.emit("beforeExit", exitStatus())) break;
    if (!timers.loop()) break;
  }
  atEnd?.();
  timers.loop();
  leave();
}

/** Prints an error as node does: where, what, and the version. */
function report(error, from = "") {
  let where = "";
  let shown;
  try {
    if (error instanceof Error || host.className(error) === "Error") {
      const frame = /^ {4}at (?:.*\()?((?:\/|file:|\[)[^()]*?):(\d+)(?::(\d+))?\)?$/m.exec(String(error.stack));
      if (frame) where = `${frame[1]}:${frame[2]}\n${sourceLine(frame[1], Number(frame[2]), Number(frame[3] ?? 0))}`;
      shown = require("internal/util/inspect").inspect(error);
    } else {
      shown = `${from}${require("internal/util/inspect").inspect(error)}`;
      where = "node:internal/process:1\n";
    }
  } catch (fault) {
    shown = String(fault);
  }
  if (error instanceof Error) host.write(2, `${where}\n${shown}\n\nNode.js ${VERSION}\n`);
  else host.write(2, `Uncaught:\n${shown}\n(Use \`node --trace-uncaught ...\` to show where the exception was thrown)\n\nNode.js ${VERSION}\n`);
}

/** Gives a line of a program, and a mark below the place. */
function sourceLine(file, number, column) {
  const path = file.startsWith("file://") ? decodeURIComponent(file.slice(7)) : file;
  const text = path.startsWith("[") ? require("session").sources.get(path) ?? require("main").evaluated : host.readFile(path, true);
  if (typeof text !== "string") return "";
  const line = text.split("\n")[number - 1];
  return line === undefined || line.length > 500 ? "" : `${line}\n${column > 0 ? `${" ".repeat(column - 1)}^\n` : ""}`;
}

/** What happens to an error that nobody caught. */
function uncaught(error, origin = "uncaughtException") {
  if (capture !== null) return timers.guard(capture, [error]);
  process.emit("uncaughtExceptionMonitor", error, origin);
  if (process.listenerCount("uncaughtException") > 0 && !leaving) {
    try {
      process.emit("uncaughtException", error, origin);
      return;
    } catch (second) {
      report(second);
      process.exitCode = 7;
      leave();
    }
  }
  report(error);
  if (onFatal !== null) return onFatal();
  process.exitCode = 1;
  leave();
}

const rejected = new Map();
const told = new WeakSet();

function rejection(promise, reason, handled) {
  if (handled) {
    rejected.delete(promise);
    if (told.has(promise)) timers.later(() => process.emit("rejectionHandled", promise));
  } else {
    rejected.set(promise, reason);
  }
}

/** Deals with rejections that nobody handled while callbacks ran. Says whether that made new work. */
function settleRejections() {
  if (rejected.size === 0) return false;
  const list = [...rejected];
  rejected.clear();
  for (const [promise, reason] of list) {
    told.add(promise);
    if (process.listenerCount("unhandledRejection") > 0) {
      timers.guard(() => process.emit("unhandledRejection", reason, promise), []);
      continue;
    }
    if (reason instanceof Error) uncaught(reason, "unhandledRejection");
    else {
      const shown = require("internal/util/inspect").inspect(reason);
      uncaught(
        coded(Error, "ERR_UNHANDLED_REJECTION",
          "This error originated either by throwing inside of an async function without a catch block, or by rejecting a promise which was not handled with .catch(). " +
          `The promise rejected with the reason "${shown}".`),
        "unhandledRejection",
      );
    }
  }
  return true;
}

for (const [name, fd] of [["stdout", 1], ["stderr", 2]]) {
  Object.defineProperty(process, name, {
    configurable: true,
    enumerable: true,
    get() {
      const value = require("stdio").output(fd);
      Object.defineProperty(process, name, { value, configurable: true, enumerable: true, writable: true });
      return value;
    },
  });
}
/** Standard input from its beginning on: every call has its own. */
function freshInput() {
  Object.defineProperty(process, "stdin", {
    configurable: true,
    enumerable: true,
    get() {
      const value = require("stdio").input();
      Object.defineProperty(process, "stdin", { value, configurable: true, enumerable: true, writable: true });
      return value;
    },
  });
}
freshInput();

/** Sets variables from lines as `name=value`. */
function setVariables(lines) {
  for (const line of lines) {
    const at = line.indexOf("=");
    variables[line.slice(0, at)] = line.slice(at + 1);
  }
}

/** The start of a program: what it is given, and by whom. */
function begin() {
  setVariables(host.environ());
  [process.pid, process.ppid] = host.ids();
  started = host.monotonic();
  require("internal/util/debuglog").initializeDebugEnv(process.env.NODE_DEBUG);
}

for (const [name, value] of Object.entries({ begin, setVariables, freshInput, setOnFatal: (callback) => (onFatal = callback), uncaught, rejection, settleRejections, finish, report, setAtEnd: (callback) => (atEnd = callback) })) {
  Object.defineProperty(process, name, { value });
}

const EventEmitter = require("events");
class Process extends EventEmitter {}
Object.defineProperty(Process, "name", { value: "process" });
Object.defineProperty(Process.prototype, Symbol.toStringTag, { value: "process", configurable: true });
Object.setPrototypeOf(process, Process.prototype);
EventEmitter.call(process);
