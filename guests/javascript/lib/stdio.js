// Standard input, output and error as streams.
"use strict";

const { Readable, Writable } = require("stream");
const { systemError } = require("errors");
const { Buffer } = require("buffer");
const timers = require("timers");

/** Writes all at once: what a program has printed is out, whatever happens to it then. */
class Output extends Writable {
  constructor(fd) {
    super({ decodeStrings: false, emitClose: false, autoDestroy: true });
    this.fd = fd;
    this._type = "pipe";
    this._isStdio = true;
    this.destroySoon = this.destroy;
    if (host.isatty(fd)) {
      this.isTTY = true;
      this.columns = 80;
      this.rows = 24;
    }
  }
  _write(chunk, encoding, done) {
    const bytes = typeof chunk === "string" && !["utf8", "utf-8", undefined].includes(encoding) ? Buffer.from(chunk, encoding) : chunk;
    const result = typeof bytes === "string" ? host.write(this.fd, bytes) : host.write(this.fd, bytes, 0, bytes.length, -1);
    done(result < 0 ? systemError(result, "write") : null);
  }
  _destroy(error, done) {
    done(error);
  }
  getColorDepth() {
    return 1;
  }
  hasColors() {
    return false;
  }
  getWindowSize() {
    return [80, 24];
  }
}

class Input extends Readable {
  constructor(fd, options) {
    super({ highWaterMark: 65536, ...options });
    this.fd = fd;
    if (host.isatty(fd)) this.isTTY = true;
  }
  _read(size) {
    timers.whenReadable(this.fd, () => {
      const bytes = Buffer.allocUnsafe(65536);
      const count = host.read(this.fd, bytes, 0, bytes.length, -1);
      if (count < 0) return this.destroy(systemError(count, "read"));
      this.push(count === 0 ? null : bytes.subarray(0, count));
    });
  }
  setRawMode() {
    return this;
  }
  ref() {
    return this;
  }
  unref() {
    return this;
  }
}

module.exports = { output: (fd) => new Output(fd), input: () => new Input(0), Input, Output };
