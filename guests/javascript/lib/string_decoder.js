// Text that comes in pieces of bytes: what may be the start of a character waits for the rest.
"use strict";

const { Buffer } = require("buffer");
const { normalizeEncoding } = require("internal/util");
const { codes: { ERR_UNKNOWN_ENCODING } } = require("internal/errors");

class StringDecoder {
  constructor(encoding) {
    this.encoding = normalizeEncoding(encoding);
    if (this.encoding === undefined) throw new ERR_UNKNOWN_ENCODING(encoding);
    Object.defineProperty(this, "rest", { value: Buffer.alloc(0), writable: true, enumerable: false });
  }
  get lastNeed() {
    return this.rest.length;
  }
  write(bytes) {
    if (typeof bytes === "string") return bytes;
    let all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (this.rest.length > 0) all = Buffer.concat([this.rest, all]);
    const keep = this.incomplete(all);
    this.rest = keep > 0 ? Buffer.from(all.subarray(all.length - keep)) : Buffer.alloc(0);
    return all.toString(this.encoding, 0, all.length - keep);
  }
  incomplete(bytes) {
    switch (this.encoding) {
      case "utf8":
        for (let back = 1; back <= Math.min(3, bytes.length); back++) {
          const byte = bytes[bytes.length - back];
          if ((byte & 0xc0) === 0x80) continue;
          return byte >= 0xc0 && (byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2) > back ? back : 0;
        }
        return 0;
      case "utf16le": {
        const odd = bytes.length % 2;
        const last = bytes[bytes.length - odd - 1];
        return odd + (bytes.length - odd >= 2 && last >= 0xd8 && last <= 0xdb ? 2 : 0);
      }
      case "base64":
      case "base64url":
        return bytes.length % 3;
      default:
        return 0;
    }
  }
  end(bytes) {
    const text = bytes === undefined ? "" : this.write(bytes);
    const rest = this.rest.toString(this.encoding);
    this.rest = Buffer.alloc(0);
    return text + rest;
  }
}

module.exports = { StringDecoder };
