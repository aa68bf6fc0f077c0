// The natives of node's Buffer, over the host's text functions.
"use strict";

const noop = () => {};
// Encodings, as the host numbers them.
const ENCODINGS = { utf8: 0, latin1: 1, ascii: 2, utf16le: 3, hex: 4, base64: 5, base64url: 6, buffer: 0 };
const KINDS = { utf8: "utf8", ascii: "ascii", latin1: "latin1", ucs2: "utf16le", hex: "hex", base64: "base64", base64url: "base64url" };
const encode = (text, encoding) => new Uint8Array(host.encode(text, ENCODINGS[encoding]));
const decode = (bytes, encoding, start, end) => host.decode(bytes, ENCODINGS[encoding], start, end);

function check(start, end, length) {
  start = start === undefined ? 0 : start;
  end = end === undefined ? length : Math.min(end, length);
  return [Math.min(start, length), Math.max(end, Math.min(start, length))];
}

const exported = {
  kMaxLength: 2 ** 31 - 1,
  kStringMaxLength: 2 ** 29 - 24,
  setBufferPrototype: noop,
  getZeroFillToggle: () => new Uint32Array(1),
  createFromString: (text, encoding) => {
    const bytes = encode(text, encodingName(encoding));
    Object.setPrototypeOf(bytes, require("buffer").Buffer.prototype);
    return bytes;
  },
  byteLengthUtf8: (text) => host.utf8Length(text),
  copy(source, target, targetStart, sourceStart, count) {
    target.set(source.subarray(sourceStart, sourceStart + count), targetStart);
    return count;
  },
  detachArrayBuffer: (buffer) => buffer.transfer(),
  copyArrayBuffer(destination, destinationOffset, source, sourceOffset, count) {
    new Uint8Array(destination, destinationOffset, count).set(new Uint8Array(source, sourceOffset, count));
  },
  compare: (left, right) => host.compare(left, right),
  compareOffset: (left, right, rightStart, leftStart, rightLength, leftLength) =>
    host.compare(left.subarray(leftStart, leftStart + leftLength), right.subarray(rightStart, rightStart + rightLength)),
  fill(buffer, value, start, end, encoding) {
    if (start < 0 || end > buffer.length) return -2;
    if (typeof value === "number") return void Uint8Array.prototype.fill.call(buffer, value & 255, start, end);
    const bytes = typeof value === "string" ? encode(value, encodingOf(encoding)) : value;
    if (bytes.length === 0) return -1;
    for (let at = start; at < end; at += bytes.length) buffer.set(bytes.subarray(0, Math.min(bytes.length, end - at)), at);
  },
  indexOfBuffer: (buffer, value, offset, encoding, forward) => find(buffer, value, offset, forward),
  indexOfString: (buffer, value, offset, encoding, forward) =>
    find(buffer, encode(value, encodingName(encoding)), offset, forward),
  indexOfNumber(buffer, value, offset, forward) {
    if (offset < 0) offset = Math.max(0, offset + buffer.length);
    return forward ? Uint8Array.prototype.indexOf.call(buffer, value & 255, offset) : Uint8Array.prototype.lastIndexOf.call(buffer, value & 255, offset);
  },
  swap16: (buffer) => swap(buffer, 2),
  swap32: (buffer) => swap(buffer, 4),
  swap64: (buffer) => swap(buffer, 8),
  isUtf8: (value) => host.validUtf8(new Uint8Array(value.buffer ?? value, value.byteOffset ?? 0, value.byteLength)),
  isAscii: (value) => new Uint8Array(value.buffer ?? value, value.byteOffset ?? 0, value.byteLength).every((byte) => byte < 128),
  btoa(text) {
    for (let at = 0; at < text.length; at++) if (text.charCodeAt(at) > 255) return -1;
    return decode(encode(text, "latin1"), "base64", 0, text.length);
  },
  atob(text) {
    text = text.replace(/[\t\n\f\r ]/g, "");
    if (text.length % 4 === 0) text = text.replace(/={1,2}$/, "");
    if (text.length % 4 === 1) return -3;
    if (!/^[A-Za-z0-9+/]*$/.test(text)) return -1;
    const bytes = encode(text, "base64");
    return decode(bytes, "latin1", 0, bytes.length);
  },
  createUnsafeArrayBuffer: (size) => new ArrayBuffer(size),
};

// Node numbers encodings: ascii, utf8, base64, utf16le, latin1, hex, buffer, base64url.
const NUMBERS = ["ascii", "utf8", "base64", "utf16le", "latin1", "hex", "buffer", "base64url"];
function encodingName(encoding) {
  return typeof encoding === "number" ? NUMBERS[encoding] : encodingOf(encoding);
}
function encodingOf(encoding) {
  return require("internal/util").normalizeEncoding(encoding) ?? "utf8";
}

function find(buffer, value, offset, forward) {
  if (offset < 0) offset += buffer.length;
  if (offset < 0) {
    if (!forward) return -1;
    offset = 0;
  }
  if (value.length === 0) return Math.min(offset, buffer.length);
  if (forward) return offset > buffer.length ? -1 : host.find(buffer, value, offset);
  for (let at = Math.min(offset, buffer.length - value.length); at >= 0; at--) {
    let same = 0;
    while (same < value.length && buffer[at + same] === value[same]) same++;
    if (same === value.length) return at;
  }
  return -1;
}

function swap(buffer, size) {
  for (let at = 0; at + size <= buffer.length; at += size) buffer.subarray(at, at + size).reverse();
  return buffer;
}

for (const [name, kind] of Object.entries(KINDS)) {
  exported[`${name}Slice`] = function (start, end) {
    const [from, to] = check(start, end, this.length);
    return decode(this, kind, from, to);
  };
  exported[`${name}Write`] = function (text, offset = 0, length = this.length - offset) {
    const bytes = encode(text, kind);
    let count = Math.min(bytes.length, length, this.length - offset);
    // A character is written whole or not at all.
    if (kind === "utf8" && count < bytes.length) while (count > 0 && (bytes[count] & 0xc0) === 0x80) count--;
    if (kind === "utf16le") count -= count % 2;
    this.set(count === bytes.length ? bytes : bytes.subarray(0, count), offset);
    return count;
  };
  exported[`${name}WriteStatic`] = (buffer, ...rest) => exported[`${name}Write`].apply(buffer, rest);
}

exported.encoding = {
  encodeInto(text, bytes) {},
  encodeIntoResults: new Uint32Array(2),
  encodeUtf8String: (text) => encode(text, "utf8"),
  decodeUTF8: (bytes, ignoreBom, fatal) => require("encoding").decodeUtf8(bytes, ignoreBom, fatal),
  toASCII: (text) => require("punycode").toASCII(text),
  toUnicode: (text) => require("punycode").toUnicode(text),
};

module.exports = exported;
