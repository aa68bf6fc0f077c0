// The module `fs/promises`.
"use strict";

const fs = require("fs");
const { Buffer } = require("buffer");
const timers = require("timers");
const EventEmitter = require("events");

/** Gives what a call with these arguments comes to, in a later turn. */
function later(work) {
  return new Promise((resolve, reject) => {
    let settle;
    try {
      const result = work();
      settle = () => resolve(result);
    } catch (error) {
      settle = () => reject(error);
    }
    timers.later(settle);
  });
}

class FileHandle extends EventEmitter {
  constructor(fd) {
    super();
    Object.defineProperty(this, "fd", { value: fd, writable: true, enumerable: true });
  }
  async close() {
    const fd = this.fd;
    if (fd === -1) return;
    this.fd = -1;
    await later(() => fs.sync.close(fd));
    this.emit("close");
  }
  async read(buffer, offset, length, position) {
    if (buffer === undefined || !ArrayBuffer.isView(buffer)) ({ buffer = Buffer.alloc(16384), offset, length, position } = buffer ?? {});
    const bytesRead = await later(() => fs.sync.read(this.fd, buffer, offset, length, position));
    return { bytesRead, buffer };
  }
  async write(buffer, ...rest) {
    return { bytesWritten: await later(() => fs.sync.write(this.fd, buffer, ...rest)), buffer };
  }
  readFile(options) {
    return later(() => fs.sync.readFile(this.fd, options));
  }
  writeFile(data, options) {
    return later(() => fs.sync.writeFile(this.fd, data, options));
  }
  appendFile(data, options) {
    return later(() => fs.sync.writeFile(this.fd, data, options));
  }
  stat(options) {
    return later(() => fs.sync.fstat(this.fd, options));
  }
  truncate(length) {
    return later(() => fs.sync.ftruncate(this.fd, length));
  }
  sync() {
    return later(() => fs.sync.fsync(this.fd));
  }
  datasync() {
    return later(() => fs.sync.fsync(this.fd));
  }
  chmod(mode) {
    return later(() => fs.sync.fchmod(this.fd, mode));
  }
  utimes(atime, mtime) {
    return later(() => fs.sync.futimes(this.fd, atime, mtime));
  }
  createReadStream(options) {
    return fs.createReadStream(null, { ...options, fd: this.fd });
  }
  createWriteStream(options) {
    return fs.createWriteStream(null, { ...options, fd: this.fd });
  }
  readLines(options) {
    return require("readline").createInterface({ input: this.createReadStream(options), crlfDelay: Infinity });
  }
  async [Symbol.asyncDispose]() {
    await this.close();
  }
}

const exported = { constants: fs.constants, FileHandle };
const NAMES = [
  "access", "appendFile", "chmod", "chown", "copyFile", "cp", "lchown", "link", "lstat", "lutimes", "mkdir", "mkdtemp", "opendir", "readdir",
  "readFile", "readlink", "realpath", "rename", "rm", "rmdir", "stat", "statfs", "symlink", "truncate", "unlink", "utimes", "writeFile",
];
for (const name of NAMES) {
  exported[name] = {
    async [name](target, ...rest) {
      if (target instanceof FileHandle) target = target.fd;
      const data = rest[0];
      // What comes in pieces is gathered first.
      if (name === "writeFile" && data !== null && typeof data === "object" && !ArrayBuffer.isView(data)) {
        const parts = [];
        for await (const part of data) parts.push(Buffer.from(part));
        rest[0] = Buffer.concat(parts);
      }
      const options = rest.findLast((one) => one?.signal);
      options?.signal.throwIfAborted();
      return later(() => fs.sync[name](target, ...rest));
    },
  }[name];
}
exported.open = async (name, flags, mode) => new FileHandle(await later(() => fs.sync.open(name, flags, mode)));
exported.watch = () => fs.watch();

module.exports = exported;
