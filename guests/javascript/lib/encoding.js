// TextEncoder and TextDecoder.
"use strict";

const { coded } = require("errors");

class TextEncoder {
  get encoding() {
    return "utf-8";
  }
  encode(text = "") {
    return new Uint8Array(host.encode(String(text), 0));
  }
  encodeInto(text, target) {
    let read = 0;
    let written = 0;
    for (const character of String(text)) {
      const bytes = this.encode(character);
      if (written + bytes.length > target.length) break;
      target.set(bytes, written);
      written += bytes.length;
      read += character.length;
    }
    return { read, written };
  }
}

function bytesOf(input) {
  if (input === undefined) return new Uint8Array(0);
  return ArrayBuffer.isView(input) ? new Uint8Array(input.buffer, input.byteOffset, input.byteLength) : new Uint8Array(input);
}

function decodeUtf8(input, ignoreBom, fatal) {
  let bytes = bytesOf(input);
  if (fatal && !host.validUtf8(bytes)) throw coded(TypeError, "ERR_ENCODING_INVALID_ENCODED_DATA", "The encoded data was not valid for encoding utf-8");
  if (!ignoreBom && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) bytes = bytes.subarray(3);
  return host.decode(bytes, 0, 0, bytes.length);
}

const LABELS = {
  "utf-8": "utf8", utf8: "utf8", "unicode-1-1-utf-8": "utf8", "utf-16le": "utf16le", "utf-16": "utf16le", latin1: "latin1",
  "iso-8859-1": "latin1", "windows-1252": "latin1", ascii: "latin1", "us-ascii": "latin1",
};
const NAMES = { utf8: "utf-8", utf16le: "utf-16le", latin1: "windows-1252" };

class TextDecoder {
  #kind;
  #fatal;
  #ignoreBom;
  #rest = new Uint8Array(0);
  constructor(label = "utf-8", options = {}) {
    this.#kind = LABELS[String(label).trim().toLowerCase()];
    if (this.#kind === undefined) throw coded(RangeError, "ERR_ENCODING_NOT_SUPPORTED", `The "${label}" encoding is not supported`);
    this.#fatal = Boolean(options?.fatal);
    this.#ignoreBom = Boolean(options?.ignoreBOM);
  }
  get encoding() {
    return NAMES[this.#kind];
  }
  get fatal() {
    return this.#fatal;
  }
  get ignoreBOM() {
    return this.#ignoreBom;
  }
  decode(input, options = {}) {
    let bytes = bytesOf(input);
    if (this.#rest.length > 0) {
      const all = new Uint8Array(this.#rest.length + bytes.length);
      all.set(this.#rest);
      all.set(bytes, this.#rest.length);
      bytes = all;
      this.#rest = new Uint8Array(0);
    }
    if (options?.stream && this.#kind === "utf8") {
      // What may be the start of a character waits for its end.
      let keep = 0;
      for (let back = 1; back <= Math.min(3, bytes.length); back++) {
        const byte = bytes[bytes.length - back];
        if ((byte & 0xc0) === 0x80) continue;
        if (byte >= 0xc0 && (byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2) > back) keep = back;
        break;
      }
      this.#rest = bytes.slice(bytes.length - keep);
      bytes = bytes.subarray(0, bytes.length - keep);
    }
    if (this.#kind === "utf8") return decodeUtf8(bytes, this.#ignoreBom, this.#fatal);
    return host.decode(bytes, { utf16le: 3, latin1: 1 }[this.#kind], 0, bytes.length);
  }
}

module.exports = { TextEncoder, TextDecoder, decodeUtf8 };
