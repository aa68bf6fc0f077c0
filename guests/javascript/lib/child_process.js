// The module `child_process`: the commands of the sandbox, as processes beside this one.
"use strict";

const EventEmitter = require("events");
const { Buffer } = require("buffer");
const { Readable, Writable } = require("stream");
const { coded, systemError, invalidArgType, checkString } = require("errors");
const { signals } = require("bindings");
const process = require("process");
const timers = require("timers");
const { Input } = require("stdio");
const { fileURLToPath } = require("internal/url");

const SIGNAL_NAMES = Object.fromEntries(Object.entries(signals).reverse().map(([name, number]) => [number, name]));

function prepare(file, args, options, call) {
  checkString(file, "file");
  if (file === "") throw require("errors").invalidArgValue("file", file, "cannot be empty");
  if (!Array.isArray(args)) [args, options] = [[], args ?? options];
  options = { ...options };
  let words = args.map(String);
  if (options.shell) {
    const shell = typeof options.shell === "string" ? options.shell : "/bin/sh";
    words = ["-c", [file, ...words].join(" ")];
    file = shell;
  }
  const variables = Object.entries(options.env ?? process.env).filter(([, value]) => value !== undefined).map(([name, value]) => `${name}=${value}`);
  const cwd = options.cwd instanceof URL ? fileURLToPath(options.cwd) : options.cwd;
  return { file, words: [options.argv0 ?? file, ...words], variables, cwd, options, call };
}

function stdioOf(options, count = 3) {
  let stdio = options.stdio ?? "pipe";
  if (typeof stdio === "string") stdio = Array(count).fill(stdio);
  stdio = [...stdio];
  while (stdio.length < count) stdio.push("pipe");
  return stdio.map((one) => (one === null || one === undefined ? "pipe" : one === "overlapped" ? "pipe" : one));
}

/** Starts a program; gives its number or a negative error, and our ends of its pipes. */
function start({ file, words, variables, cwd }, stdio) {
  const [given, ours, opened] = [[], [], []];
  const open = (fd) => (opened.push(fd), fd);
  stdio.forEach((one, index) => {
    ours[index] = -1;
    if (one === "pipe") {
      const [reader, writer] = host.pipe();
      given[index] = open(index === 0 ? reader : writer);
      ours[index] = index === 0 ? writer : reader;
    } else if (one === "ignore") given[index] = open(host.open("/dev/null", 2));
    else if (one === "inherit") given[index] = index;
    else if (typeof one === "number") given[index] = one;
    else if (typeof one?.fd === "number") given[index] = one.fd;
    else given[index] = -1;
  });
  let pid = cwd !== undefined && typeof host.stat(cwd, true) === "number" ? -2 : host.spawn(file, words, variables, cwd, given);
  opened.forEach((fd) => host.close(fd));
  if (pid < 0) ours.filter((fd) => fd >= 0).forEach((fd) => host.close(fd));
  return { pid, ours };
}

/** What a program reads, as a stream. */
class ToChild extends Writable {
  constructor(fd) {
    super({ decodeStrings: true });
    this.fd = fd;
  }
  _write(chunk, encoding, done) {
    let at = 0;
    const step = () => {
      // No more than fits: a pipe that is full must not hold up this program.
      const count = host.write(this.fd, chunk, at, Math.min(chunk.length - at, 4096), -1);
      if (count < 0) return done(systemError(count, "write"));
      at += count;
      if (at >= chunk.length) return done();
      timers.whenWritable(this.fd, step);
    };
    if (chunk.length === 0) return done();
    timers.whenWritable(this.fd, step);
  }
  _destroy(error, done) {
    if (this.fd >= 0) host.close(this.fd);
    this.fd = -1;
    done(error);
  }
}

class FromChild extends Input {
  _destroy(error, done) {
    if (this.fd >= 0) host.close(this.fd);
    this.fd = -1;
    done(error);
  }
}

class ChildProcess extends EventEmitter {
  constructor() {
    super();
    Object.assign(this, { pid: undefined, exitCode: null, signalCode: null, killed: false, connected: false, spawnfile: null, spawnargs: [], stdin: null, stdout: null, stderr: null, stdio: [] });
  }
  kill(signal = "SIGTERM") {
    const number = typeof signal === "number" ? signal : signals[signal];
    if (number === undefined) throw coded(TypeError, "ERR_UNKNOWN_SIGNAL", `Unknown signal: ${signal}`);
    if (this.exitCode !== null || this.signalCode !== null || this.pid === undefined) return false;
    const sent = host.kill(this.pid, number) === 0;
    if (sent && number !== 0) this.killed = true;
    return sent;
  }
  ref() {}
  unref() {}
  disconnect() {}
  [Symbol.dispose]() {
    this.kill();
  }
}

function spawn(file, args, options) {
  const wanted = prepare(file, args, options, "spawn");
  const child = new ChildProcess();
  const stdio = stdioOf(wanted.options);
  child.spawnfile = wanted.file;
  child.spawnargs = wanted.words;
  const { pid, ours } = start(wanted, stdio);
  const streams = stdio.map((one, index) => {
    if (one !== "pipe") return null;
    if (pid < 0) return index === 0 ? new Writable({ write: (chunk, encoding, done) => done() }) : Readable.from([]);
    return index === 0 ? new ToChild(ours[0]) : new FromChild(ours[index], {});
  });
  [child.stdin, child.stdout, child.stderr] = streams;
  child.stdio = streams;
  let open = 1;
  const closed = () => {
    if (--open === 0) child.emit("close", child.exitCode, child.signalCode);
  };
  if (pid < 0) {
    const error = systemError(pid, `spawn ${wanted.file}`);
    error.path = wanted.file;
    error.spawnargs = wanted.words.slice(1);
    error.message = `spawn ${wanted.file} ${error.code}`;
    child.exitCode = pid;
    timers.nextTick(() => {
      child.emit("error", error);
      closed();
    });
    return child;
  }
  child.pid = pid;
  for (const stream of streams.slice(1)) {
    if (stream === null) continue;
    open++;
    stream.once("close", closed);
  }
  let timer;
  const { timeout, killSignal = "SIGTERM", signal } = wanted.options;
  if (timeout > 0) timer = timers.setTimeout(() => child.kill(killSignal), timeout);
  signal?.addEventListener("abort", () => {
    child.kill(killSignal);
    child.emit("error", new (require("internal/errors").AbortError)(undefined, { cause: signal.reason }));
  }, { once: true });
  timers.nextTick(() => child.emit("spawn"));
  timers.whenEnded(pid, (code, number) => {
    timers.clearTimeout(timer);
    child.exitCode = number ? null : code;
    child.signalCode = number ? SIGNAL_NAMES[number] : null;
    child.stdin?.destroy();
    child.emit("exit", child.exitCode, child.signalCode);
    // Output that nobody reads must not keep the child open.
    for (const stream of [child.stdout, child.stderr]) if (stream && !stream.readableFlowing && stream.listenerCount("readable") === 0) stream.resume();
    closed();
  });
  return child;
}

function spawnSync(file, args, options) {
  const wanted = prepare(file, args, options, "spawnSync");
  const { input, encoding, timeout, maxBuffer = 1024 * 1024, killSignal = "SIGTERM" } = wanted.options;
  const stdio = stdioOf(wanted.options);
  const { pid, ours } = start(wanted, stdio);
  const outcome = { pid: pid > 0 ? pid : 0, output: null, stdout: null, stderr: null, status: null, signal: null };
  if (pid < 0) {
    const error = systemError(pid, `spawnSync ${wanted.file}`);
    error.path = wanted.file;
    error.spawnargs = wanted.words.slice(1);
    error.message = `spawnSync ${wanted.file} ${error.code}`;
    outcome.error = error;
    return outcome;
  }
  let rest = input === undefined || input === null ? Buffer.alloc(0) : typeof input === "string" ? Buffer.from(input, encoding === "buffer" ? "utf8" : encoding) : Buffer.from(input.buffer, input.byteOffset, input.byteLength);
  const gathered = stdio.map((one) => (one === "pipe" ? [] : null));
  const sizes = stdio.map(() => 0);
  const end = timeout > 0 ? Number(host.monotonic()) / 1e6 + timeout : Infinity;
  const shut = (index) => {
    host.close(ours[index]);
    ours[index] = -1;
  };
  if (ours[0] >= 0 && rest.length === 0) shut(0);
  const buffer = Buffer.alloc(65536);
  while (ours.some((fd) => fd >= 0)) {
    const open = ours.map((fd, index) => [fd, index]).filter(([fd]) => fd >= 0);
    const wait = end === Infinity ? -1 : Math.max(0, Math.ceil(end - Number(host.monotonic()) / 1e6));
    const ready = host.poll(open.flatMap(([fd, index]) => [fd, index === 0 ? 4 : 1]), wait);
    if (end !== Infinity && Number(host.monotonic()) / 1e6 >= end) {
      host.kill(pid, typeof killSignal === "number" ? killSignal : signals[killSignal]);
      outcome.error = Object.assign(systemError(-110, `spawnSync ${wanted.file}`), { path: wanted.file, spawnargs: wanted.words.slice(1) });
      break;
    }
    open.forEach(([fd, index], place) => {
      if (!(ready[place] > 0)) return;
      if (index === 0) {
        const count = host.write(fd, rest, 0, Math.min(rest.length, 4096), -1);
        rest = count < 0 ? Buffer.alloc(0) : rest.subarray(count);
        if (rest.length === 0) shut(0);
        return;
      }
      const count = host.read(fd, buffer, 0, buffer.length, -1);
      if (count <= 0) return shut(index);
      sizes[index] += count;
      gathered[index].push(Buffer.from(buffer.subarray(0, count)));
      if (sizes[index] > maxBuffer) {
        host.kill(pid, signals.SIGTERM);
        outcome.error = Object.assign(systemError(-105, `spawnSync ${wanted.file}`), { code: "ENOBUFS", path: wanted.file, spawnargs: wanted.words.slice(1) });
        shut(index);
      }
    });
  }
  ours.forEach((fd, index) => fd >= 0 && shut(index));
  const [, code, number] = host.waitpid(pid, true);
  outcome.status = number ? null : code;
  outcome.signal = number ? SIGNAL_NAMES[number] : null;
  outcome.output = gathered.map((parts) => {
    if (parts === null) return null;
    const all = Buffer.concat(parts);
    return encoding && encoding !== "buffer" ? all.toString(encoding) : all;
  });
  outcome.output[0] = null;
  [, outcome.stdout, outcome.stderr] = outcome.output;
  return outcome;
}

function failure(command, outcome) {
  const error = outcome.error ?? new Error(`Command failed: ${command}${outcome.stderr?.length ? `\n${outcome.stderr}` : ""}`);
  return Object.assign(error, outcome);
}

function execFileSync(file, args, options) {
  if (!Array.isArray(args)) [args, options] = [[], args];
  const given = { ...options };
  const outcome = spawnSync(file, args, { ...given, stdio: given.stdio ?? ["pipe", "pipe", "pipe"] });
  if (given.stdio === undefined && outcome.stderr?.length) process.stderr.write(outcome.stderr);
  if (outcome.error || outcome.status !== 0) throw failure(options?.shell ? file : [file, ...args].join(" "), outcome);
  return outcome.stdout;
}

function execSync(command, options) {
  checkString(command, "command");
  return execFileSync(command, [], { ...options, shell: options?.shell ?? true });
}

function execFile(file, args, options, callback) {
  if (typeof args === "function") [args, options, callback] = [[], {}, args];
  else if (!Array.isArray(args)) [args, options, callback] = [[], args ?? {}, options];
  else if (typeof options === "function") [options, callback] = [{}, options];
  const { encoding = "utf8", maxBuffer = 1024 * 1024 } = options ?? {};
  const child = spawn(file, args, { ...options, stdio: "pipe" });
  const gathered = { stdout: [], stderr: [] };
  let failed = null;
  for (const name of ["stdout", "stderr"]) {
    let size = 0;
    child[name]?.on("data", (chunk) => {
      size += chunk.length;
      if (size > maxBuffer && failed === null) {
        failed = coded(RangeError, "ERR_CHILD_PROCESS_STDIO_MAXBUFFER", `${name} maxBuffer length exceeded`);
        child.kill();
      } else gathered[name].push(Buffer.from(chunk));
    });
  }
  const text = (name) => {
    const all = Buffer.concat(gathered[name]);
    return encoding && encoding !== "buffer" ? all.toString(encoding) : all;
  };
  child.on("error", (error) => (failed = error));
  child.on("close", (code, signal) => {
    if (typeof callback !== "function") return;
    const [stdout, stderr] = [text("stdout"), text("stderr")];
    if (failed === null && code === 0 && signal === null) return callback(null, stdout, stderr);
    const command = options?.shell ? file : [file, ...args].join(" ");
    failed ??= Object.assign(new Error(`Command failed: ${command}\n${stderr}`), { code, killed: child.killed, signal });
    failed.cmd = command;
    callback(failed, stdout, stderr);
  });
  return child;
}

function exec(command, options, callback) {
  checkString(command, "command");
  if (typeof options === "function") [options, callback] = [{}, options];
  return execFile(command, [], { ...options, shell: options?.shell ?? true }, callback);
}

const { promisify } = require("internal/util");
for (const work of [exec, execFile]) {
  Object.defineProperty(work, promisify.custom, {
    value: (...args) => {
      let child;
      const promise = new Promise((resolve, reject) => {
        child = work(...args, (error, stdout, stderr) => (error ? reject(Object.assign(error, { stdout, stderr })) : resolve({ stdout, stderr })));
      });
      promise.child = child;
      return promise;
    },
  });
}

function fork() {
  throw require("errors").unavailable("child_process.fork", "use spawn(process.execPath, [file]) and its standard streams");
}

module.exports = { ChildProcess, exec, execFile, execFileSync, execSync, fork, spawn, spawnSync };
