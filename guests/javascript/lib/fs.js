// The module `fs`: every operation is done at once; the forms with a callback tell of it later.
"use strict";

const path = require("path");
const { Buffer } = require("buffer");
const { fileURLToPath } = require("internal/url");
const { systemError, invalidArgType, checkFunction } = require("errors");
const { Readable, Writable } = require("stream");
const { constants } = require("bindings").constants ? { constants: require("bindings").constants.fs } : {};
const timers = require("timers");

function nameOf(name, what = "path") {
  if (typeof name === "string") {
    if (name.includes("\0")) throw require("errors").invalidArgValue(what, name, "must be a string, Uint8Array, or URL without null bytes");
    return name;
  }
  if (name instanceof URL) return fileURLToPath(name);
  if (Buffer.isBuffer(name)) return name.toString();
  throw invalidArgType(what, ["string", "Buffer", "URL"], name);
}

function check(result, call, name, other) {
  if (typeof result === "number" && result < 0) throw systemError(result, call, name, other);
  return result;
}

const FLAGS = { r: 0, rs: 0, "r+": 2, "rs+": 2, w: 577, wx: 705, xw: 705, "w+": 578, "wx+": 706, a: 1089, ax: 1217, "a+": 1090, "ax+": 1218, as: 1089 };
function flagsOf(flags) {
  if (typeof flags === "number") return flags;
  if (flags === undefined || flags === null) return 0;
  const found = FLAGS[flags];
  if (found === undefined) throw require("errors").invalidArgValue("flags", flags);
  // The host has Linux's numbers in octal.
  return found;
}
const modeOf = (mode, otherwise) => (mode === undefined || mode === null ? otherwise : typeof mode === "string" ? parseInt(mode, 8) : mode);

class Stats {
  constructor(values, big) {
    const number = (value) => (big ? BigInt(Math.trunc(value)) : value);
    const [dev, ino, mode, nlink, size, atimeMs, mtimeMs, ctimeMs] = values;
    const [uid, gid, rdev, blksize, blocks] = [1000, 1000, 0, 4096, Math.ceil(size / 512)];
    Object.assign(this, {
      dev: number(dev), mode: number(mode), nlink: number(nlink), uid: number(uid), gid: number(gid), rdev: number(rdev), blksize: number(blksize),
      ino: number(ino), size: number(size), blocks: number(blocks), atimeMs: number(atimeMs), mtimeMs: number(mtimeMs),
      ctimeMs: number(ctimeMs), birthtimeMs: number(ctimeMs),
    });
    if (big) for (const name of ["atime", "mtime", "ctime", "birthtime"]) this[`${name}Ns`] = BigInt(Math.round(Number(this[`${name}Ms`]) * 1e6));
    for (const [name, ms] of [["atime", atimeMs], ["mtime", mtimeMs], ["ctime", ctimeMs], ["birthtime", ctimeMs]]) this[name] = new Date(ms);
  }
}
class Dirent {
  constructor(name, parent, kind) {
    this.name = name;
    this.path = parent;
    this.parentPath = parent;
    Object.defineProperty(this, Symbol.for("kind"), { value: kind });
  }
}
for (const [name, kind] of [["File", 0o100000], ["Directory", 0o040000], ["SymbolicLink", 0o120000], ["FIFO", 0o010000], ["Socket", 0o140000], ["BlockDevice", 0o060000], ["CharacterDevice", 0o020000]]) {
  Object.defineProperty(Stats.prototype, `is${name}`, { value() { return (Number(this.mode) & 0o170000) === kind; }, writable: true, configurable: true });
  Object.defineProperty(Dirent.prototype, `is${name}`, { value() { return this[Symbol.for("kind")] === kind; }, writable: true, configurable: true });
}
// Kinds as the host numbers them.
const DIRENT_KINDS = { 0: 0, 1: 0o100000, 2: 0o040000, 3: 0o120000 };

const optionsOf = (options) => (typeof options === "string" ? { encoding: options } : options ?? {});
function textOf(buffer, encoding) {
  return encoding && encoding !== "buffer" ? buffer.toString(encoding) : buffer;
}
function bytesOf(data, encoding) {
  if (typeof data === "string") return encoding && !/^utf-?8$/i.test(encoding) ? Buffer.from(data, encoding) : data;
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  throw invalidArgType("data", ["string", "Buffer", "TypedArray", "DataView"], data);
}

const sync = {
  open: (name, flags = "r", mode) => check(host.open(nameOf(name), flagsOf(flags), modeOf(mode, 0o666)), "open", nameOf(name)),
  close: (fd) => void check(host.close(fd), "close"),
  read(fd, buffer, offset, length, position) {
    if (offset !== null && typeof offset === "object") ({ offset, length, position } = offset);
    offset ??= 0;
    length ??= buffer.byteLength - offset;
    const bytes = new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
    return check(host.read(fd, bytes, offset, length, typeof position === "bigint" ? Number(position) : position ?? -1), "read");
  },
  write(fd, data, offset, length, position) {
    if (typeof data === "string") return check(host.write(fd, bytesOf(data, length), 0, undefined, offset ?? -1), "write");
    if (offset !== null && typeof offset === "object") ({ offset, length, position } = offset);
    const bytes = bytesOf(data);
    offset ??= 0;
    return check(host.write(fd, bytes, offset, length ?? bytes.length - offset, position ?? -1), "write");
  },
  readv: (fd, buffers, position) => buffers.reduce((sum, one) => sum + sync.read(fd, one, 0, one.byteLength, position == null ? null : position + sum), 0),
  writev: (fd, buffers, position) => buffers.reduce((sum, one) => sum + sync.write(fd, one, 0, one.byteLength, position == null ? null : position + sum), 0),
  readFile(name, options) {
    const { encoding, flag } = optionsOf(options);
    if (typeof name === "number" && Number.isInteger(name)) {
      const parts = [];
      for (;;) {
        const part = Buffer.allocUnsafe(65536);
        const count = sync.read(name, part, 0, part.length, null);
        if (count === 0) return textOf(Buffer.concat(parts), encoding);
        parts.push(part.subarray(0, count));
      }
    }
    const file = nameOf(name);
    if (flag && flag !== "r") sync.close(sync.open(file, flag));
    const found = host.readFile(file, false);
    if (typeof found === "number") throw found === -21 ? systemError(found, "read") : systemError(found, "open", file); // EISDIR
    return textOf(Buffer.from(found), encoding);
  },
  writeFile(name, data, options) {
    const { encoding, flag = "w", mode } = optionsOf(options);
    const bytes = bytesOf(data, encoding);
    const fd = typeof name === "number" ? name : sync.open(name, flag, mode);
    try {
      check(typeof bytes === "string" ? host.write(fd, bytes) : host.write(fd, bytes, 0, bytes.length, -1), "write");
    } finally {
      if (fd !== name) sync.close(fd);
    }
  },
  appendFile: (name, data, options) => sync.writeFile(name, data, { ...optionsOf(options), flag: optionsOf(options).flag ?? "a" }),
  stat: (name, options = {}) => stat(name, options, true, "stat"),
  lstat: (name, options = {}) => stat(name, options, false, "lstat"),
  fstat: (fd, options = {}) => new Stats(check(host.stat(fd), "fstat"), options.bigint),
  access(name, mode = 0) {
    check(host.access(nameOf(name), mode), "access", nameOf(name));
  },
  mkdir(name, options) {
    const directory = nameOf(name);
    const { recursive, mode } = typeof options === "object" && options !== null ? options : { mode: options };
    void mode;
    if (!recursive) return void check(host.mkdir(directory), "mkdir", directory);
    let first;
    const missing = [];
    for (let at = path.resolve(directory); typeof host.stat(at, true) === "number"; at = path.dirname(at)) missing.push(at);
    for (const one of missing.reverse()) {
      check(host.mkdir(one), "mkdir", directory);
      first ??= one;
    }
    if (missing.length === 0 && !sync.stat(directory).isDirectory()) throw systemError(-17, "mkdir", directory);
    return first;
  },
  mkdtemp(prefix, options) {
    for (;;) {
      const name = prefix + require("crypto").randomBytes(6).toString("base64url").replace(/[-_]/g, "x").slice(0, 6);
      const result = host.mkdir(name);
      if (result !== -17) return check(result, "mkdtemp", `${prefix}XXXXXX`), name;
    }
  },
  rmdir(name, options) {
    if (options?.recursive) return sync.rm(name, { recursive: true });
    check(host.rmdir(nameOf(name)), "rmdir", nameOf(name));
  },
  rm(name, options = {}) {
    const file = nameOf(name);
    const found = host.stat(file, false);
    if (typeof found === "number") {
      if (options.force) return;
      throw systemError(found, "lstat", file);
    }
    if ((found[2] & 0o170000) !== 0o040000) return void check(host.unlink(file), "rm", file);
    if (!options.recursive) {
      throw require("errors").coded(Error, "ERR_FS_EISDIR", `Path is a directory: rm returned EISDIR (is a directory) ${file}`);
    }
    for (const one of sync.readdir(file)) sync.rm(path.join(file, one), options);
    check(host.rmdir(file), "rm", file);
  },
  unlink: (name) => void check(host.unlink(nameOf(name)), "unlink", nameOf(name)),
  rename: (from, to) => void check(host.rename(nameOf(from), nameOf(to)), "rename", nameOf(from), nameOf(to)),
  link: (from, to) => void check(host.link(nameOf(from), nameOf(to)), "link", nameOf(from), nameOf(to)),
  symlink: (target, name) => void check(host.symlink(nameOf(target), nameOf(name)), "symlink", nameOf(target), nameOf(name)),
  readlink: (name) => check(host.readlink(nameOf(name)), "readlink", nameOf(name)),
  realpath: (name) => check(host.realpath(nameOf(name)), "lstat", nameOf(name)),
  chmod: (name, mode) => void check(host.chmod(nameOf(name), modeOf(mode)), "chmod", nameOf(name)),
  fchmod: (fd, mode) => void check(host.chmod(fd, modeOf(mode)), "fchmod"),
  chown() {},
  fchown() {},
  lchown() {},
  truncate(name, length = 0) {
    const fd = sync.open(name, "r+");
    try {
      sync.ftruncate(fd, length);
    } finally {
      sync.close(fd);
    }
  },
  ftruncate: (fd, length = 0) => void check(host.ftruncate(fd, length), "ftruncate"),
  fsync: (fd) => void check(host.fsync(fd), "fsync"),
  fdatasync: (fd) => void check(host.fsync(fd), "fdatasync"),
  utimes: (name, atime, mtime) => void check(host.utimes(nameOf(name), msOf(atime), msOf(mtime), true), "utime", nameOf(name)),
  lutimes: (name, atime, mtime) => void check(host.utimes(nameOf(name), msOf(atime), msOf(mtime), false), "lutime", nameOf(name)),
  futimes: (fd, atime, mtime) => void check(host.utimes(fd, msOf(atime), msOf(mtime), true), "futime"),
  readdir(name, options) {
    const directory = nameOf(name);
    const { withFileTypes, recursive, encoding } = optionsOf(options);
    const list = [];
    const walk = (at, prefix) => {
      const found = check(host.readdir(at), "scandir", at);
      const entries = [];
      for (let index = 0; index < found.length; index += 2) entries.push([found[index], DIRENT_KINDS[found[index + 1]]]);
      entries.sort(([left], [right]) => (left < right ? -1 : left > right ? 1 : 0));
      for (const [entry, kind] of entries) {
        list.push(withFileTypes ? new Dirent(entry, at, kind) : encoding === "buffer" ? Buffer.from(prefix + entry) : prefix + entry);
      }
      if (recursive) for (const [entry, kind] of entries) if (kind === 0o040000) walk(path.join(at, entry), prefix + entry + "/");
    };
    walk(directory, "");
    return list;
  },
  copyFile(from, to, mode = 0) {
    const data = host.readFile(nameOf(from), false);
    check(data, "copyfile", nameOf(from), nameOf(to));
    if (mode & 1 && typeof host.stat(nameOf(to), true) !== "number") throw systemError(-17, "copyfile", nameOf(from), nameOf(to));
    sync.writeFile(to, new Uint8Array(data), { mode: sync.stat(from).mode & 0o777 });
  },
  cp(from, to, options = {}) {
    const [source, target] = [nameOf(from), nameOf(to)];
    if (options.filter && !options.filter(source, target)) return;
    const about = options.dereference ? sync.stat(source) : sync.lstat(source);
    if (about.isDirectory()) {
      if (!options.recursive) throw require("errors").coded(Error, "ERR_FS_EISDIR", `Recursive option not enabled, cannot copy a directory: cp returned EISDIR (${source} is a directory (not copied)) ${target}`);
      sync.mkdir(target, { recursive: true });
      for (const one of sync.readdir(source)) sync.cp(path.join(source, one), path.join(target, one), options);
    } else {
      sync.mkdir(path.dirname(target), { recursive: true });
      if (about.isSymbolicLink()) {
        sync.rm(target, { force: true });
        sync.symlink(sync.readlink(source), target);
      } else if (options.force !== false || !exists(target)) sync.copyFile(source, target);
      else if (options.errorOnExist) throw systemError(-17, "cp", target);
    }
  },
  opendir(name) {
    const entries = sync.readdir(name, { withFileTypes: true });
    return {
      path: nameOf(name),
      readSync: () => entries.shift() ?? null,
      read: async () => entries.shift() ?? null,
      closeSync() {},
      close: async () => {},
      async *[Symbol.asyncIterator]() {
        yield* entries;
      },
    };
  },
  statfs: () => ({ type: 0, bsize: 4096, blocks: 0, bfree: 0, bavail: 0, files: 0, ffree: 0 }),
};

const msOf = (time) => (time instanceof Date ? time.getTime() : Number(time) * 1000);

function stat(name, options, follow, call) {
  const found = host.stat(nameOf(name), follow);
  if (typeof found === "number" && options.throwIfNoEntry === false && (found === -2 || found === -20)) return undefined;
  return new Stats(check(found, call, nameOf(name)), options.bigint);
}

function exists(name) {
  try {
    return typeof host.stat(nameOf(name), true) !== "number";
  } catch {
    return false;
  }
}

const fs = { constants, Stats, Dirent, F_OK: 0, R_OK: 4, W_OK: 2, X_OK: 1, existsSync: exists };
/** How many results after the error a callback gets, where it is not one. */
const EXTRA = { read: (result, args) => [result, args[1]], write: (result, args) => [result, args[1]], readv: (result, args) => [result, args[1]], writev: (result, args) => [result, args[1]] };
for (const [name, work] of Object.entries(sync)) {
  fs[`${name}Sync`] = { [`${name}Sync`]: (...args) => work(...args) }[`${name}Sync`];
  fs[name] = {
    [name](...args) {
      const callback = args.pop();
      checkFunction(callback, "cb");
      // Bad arguments are the caller's own fault, at once; what the files say comes later.
      let outcome;
      try {
        const result = work(...args);
        outcome = [null, ...(EXTRA[name]?.(result, args) ?? (result === undefined ? [] : [result]))];
      } catch (error) {
        if (error.syscall === undefined && error.code?.startsWith("ERR_INVALID")) throw error;
        outcome = [error];
      }
      timers.later(callback, ...outcome);
    },
  }[name];
}
fs.realpath.native = fs.realpath;
fs.realpathSync.native = fs.realpathSync;
fs.exists = (name, callback) => timers.later(callback, exists(name));

class ReadStream extends Readable {
  constructor(name, options = {}) {
    options = optionsOf(options);
    super({ highWaterMark: 65536, ...options });
    this.path = name;
    this.fd = options.fd ?? null;
    this.flags = options.flags ?? "r";
    this.start = options.start;
    this.end = options.end ?? Infinity;
    this.bytesRead = 0;
    this.position = options.start;
    this.autoClose = options.autoClose ?? true;
  }
  _construct(done) {
    if (this.fd !== null) return done();
    fs.open(this.path, this.flags, (error, fd) => {
      if (error) return done(error);
      this.fd = fd;
      done();
      this.emit("open", fd);
      this.emit("ready");
    });
  }
  _read(size) {
    const most = Math.min(size, this.position === undefined ? this.end + 1 - this.bytesRead : this.end - this.position + 1);
    if (most <= 0) return this.push(null);
    const buffer = Buffer.allocUnsafe(most);
    fs.read(this.fd, buffer, 0, most, this.position ?? null, (error, count) => {
      if (error) return this.destroy(error);
      this.bytesRead += count;
      if (this.position !== undefined) this.position += count;
      this.push(count === 0 ? null : buffer.subarray(0, count));
    });
  }
  _destroy(error, done) {
    if (this.fd === null || !this.autoClose) return done(error);
    const fd = this.fd;
    this.fd = null;
    fs.close(fd, (failed) => done(error ?? failed));
  }
  close(callback) {
    if (callback) this.once("close", callback);
    this.destroy();
  }
}

class WriteStream extends Writable {
  constructor(name, options = {}) {
    options = optionsOf(options);
    super({ decodeStrings: true, ...options });
    this.path = name;
    this.fd = options.fd ?? null;
    this.flags = options.flags ?? "w";
    this.mode = options.mode;
    this.position = options.start;
    this.bytesWritten = 0;
  }
  _construct(done) {
    if (this.fd !== null) return done();
    fs.open(this.path, this.flags, this.mode, (error, fd) => {
      if (error) return done(error);
      this.fd = fd;
      done();
      this.emit("open", fd);
      this.emit("ready");
    });
  }
  _write(chunk, encoding, done) {
    fs.write(this.fd, chunk, 0, chunk.length, this.position ?? null, (error, count) => {
      if (error) return done(error);
      this.bytesWritten += count;
      if (this.position !== undefined) this.position += count;
      done();
    });
  }
  _destroy(error, done) {
    if (this.fd === null) return done(error);
    const fd = this.fd;
    this.fd = null;
    fs.close(fd, (failed) => done(error ?? failed));
  }
  close(callback) {
    if (callback) this.once("close", callback);
    this.end();
  }
}

Object.assign(fs, {
  ReadStream,
  WriteStream,
  createReadStream: (name, options) => new ReadStream(name instanceof URL ? fileURLToPath(name) : name, options),
  createWriteStream: (name, options) => new WriteStream(name instanceof URL ? fileURLToPath(name) : name, options),
  watch: () => { throw require("errors").unavailable("fs.watch", "nothing but this program changes files while it runs"); },
  watchFile: () => { throw require("errors").unavailable("fs.watchFile", "nothing but this program changes files while it runs"); },
  unwatchFile() {},
});
Object.defineProperty(fs, "promises", { configurable: true, enumerable: true, get: () => require("fs_promises") });
Object.defineProperty(fs, "sync", { value: sync });

module.exports = fs;
