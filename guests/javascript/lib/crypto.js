// The module `crypto`: hashes, HMAC and randomness.
"use strict";

const { Buffer } = require("buffer");
const { Transform } = require("stream");
const { coded, invalidArgType, unavailable } = require("errors");
const timers = require("timers");

const HASHES = ["md5", "sha1", "sha224", "sha256", "sha384", "sha512"];
const BLOCKS = { md5: 64, sha1: 64, sha224: 64, sha256: 64, sha384: 128, sha512: 128 };

function algorithmOf(name) {
  const plain = String(name).toLowerCase().replace(/^(rsa-)/, "").replace(/^sha-/, "sha");
  if (!HASHES.includes(plain)) throw Object.assign(new Error("Digest method not supported"), { code: "ERR_CRYPTO_INVALID_DIGEST" });
  return plain;
}

function bytesOf(data, encoding, what = "data") {
  if (typeof data === "string") return Buffer.from(data, encoding === "buffer" ? "utf8" : encoding);
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  throw invalidArgType(what, ["string", "Buffer", "TypedArray", "DataView"], data);
}

class Hash extends Transform {
  #state;
  #ended = false;
  constructor(name, state) {
    super();
    this.#state = state ?? host.digestStart(algorithmOf(name));
  }
  update(data, encoding) {
    if (this.#ended) throw coded(Error, "ERR_CRYPTO_HASH_FINALIZED", "Digest already called");
    host.digestUpdate(this.#state, bytesOf(data, encoding));
    return this;
  }
  digest(encoding) {
    if (this.#ended) throw coded(Error, "ERR_CRYPTO_HASH_FINALIZED", "Digest already called");
    this.#ended = true;
    const bytes = Buffer.from(host.digestFinish(this.#state));
    return encoding && encoding !== "buffer" ? bytes.toString(encoding) : bytes;
  }
  copy() {
    return new Hash(null, host.digestCopy(this.#state));
  }
  _transform(chunk, encoding, done) {
    this.update(chunk);
    done();
  }
  _flush(done) {
    this.push(this.digest());
    done();
  }
}

class Hmac extends Transform {
  #inner;
  #outer;
  constructor(name, key) {
    super();
    const algorithm = algorithmOf(name);
    const size = BLOCKS[algorithm];
    let bytes = bytesOf(key, "utf8", "key");
    if (bytes.length > size) bytes = createHash(algorithm).update(bytes).digest();
    const pad = (value) => {
      const block = new Uint8Array(size).fill(value);
      bytes.forEach((byte, index) => (block[index] ^= byte));
      return block;
    };
    this.#inner = createHash(algorithm).update(pad(0x36));
    this.#outer = createHash(algorithm).update(pad(0x5c));
  }
  update(data, encoding) {
    this.#inner.update(data, encoding);
    return this;
  }
  digest(encoding) {
    return this.#outer.update(this.#inner.digest()).digest(encoding);
  }
  _transform(chunk, encoding, done) {
    this.update(chunk);
    done();
  }
  _flush(done) {
    this.push(this.digest());
    done();
  }
}

const createHash = (name) => new Hash(name);
const createHmac = (name, key) => new Hmac(name, key);

function randomFillSync(view, offset = 0, size = view.byteLength - offset) {
  host.random(new Uint8Array(view.buffer ?? view, (view.byteOffset ?? 0) + offset, size));
  return view;
}
function randomBytes(size, callback) {
  if (!(Number.isInteger(size) && size >= 0 && size < 2 ** 31)) {
    throw typeof size === "number" ? require("errors").outOfRange("size", ">= 0 && <= 2147483647", size) : invalidArgType("size", "number", size);
  }
  const bytes = randomFillSync(Buffer.alloc(size));
  if (callback === undefined) return bytes;
  timers.later(callback, null, bytes);
}
function randomInt(low, high, callback) {
  if (high === undefined || typeof high === "function") [low, high, callback] = [0, low, high];
  const range = high - low;
  if (!(range > 0)) throw require("errors").outOfRange("max", `greater than the value of "min" (${low})`, high);
  const limit = 2 ** 48 - (2 ** 48 % range);
  let value;
  do {
    value = randomBytes(6).readUIntBE(0, 6);
  } while (value >= limit);
  value = low + (value % range);
  if (callback === undefined) return value;
  timers.later(callback, null, value);
}
function randomUUID() {
  const bytes = randomBytes(16);
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const text = bytes.toString("hex");
  return [text.slice(0, 8), text.slice(8, 12), text.slice(12, 16), text.slice(16, 20), text.slice(20)].join("-");
}
function timingSafeEqual(left, right) {
  const [a, b] = [bytesOf(left), bytesOf(right)];
  if (a.length !== b.length) throw coded(RangeError, "ERR_CRYPTO_TIMING_SAFE_EQUAL_LENGTH", "Input buffers must have the same byte length");
  let different = 0;
  for (let index = 0; index < a.length; index++) different |= a[index] ^ b[index];
  return different === 0;
}
function pbkdf2Sync(password, salt, iterations, length, digest) {
  const blocks = [];
  for (let block = 1, done = 0; done < length; block++) {
    const number = Buffer.alloc(4);
    number.writeUInt32BE(block);
    let last = createHmac(digest, password).update(bytesOf(salt)).update(number).digest();
    const sum = Buffer.from(last);
    for (let round = 1; round < iterations; round++) {
      last = createHmac(digest, password).update(last).digest();
      for (let index = 0; index < sum.length; index++) sum[index] ^= last[index];
    }
    blocks.push(sum);
    done += sum.length;
  }
  return Buffer.concat(blocks).subarray(0, length);
}

const webcrypto = {
  getRandomValues: (view) => randomFillSync(view),
  randomUUID,
  subtle: {
    async digest(algorithm, data) {
      const bytes = createHash((algorithm.name ?? algorithm).toLowerCase().replace("-", "")).update(bytesOf(data)).digest();
      return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
    },
  },
};

const exported = {
  Hash, Hmac, createHash, createHmac, getHashes: () => [...HASHES], randomBytes, pseudoRandomBytes: randomBytes, randomFillSync,
  randomFill: (view, callback) => timers.later(callback, null, randomFillSync(view)), randomInt, randomUUID, timingSafeEqual, pbkdf2Sync,
  pbkdf2: (...args) => timers.later(args.pop(), null, pbkdf2Sync(...args)), webcrypto, subtle: webcrypto.subtle,
  getRandomValues: webcrypto.getRandomValues, getCiphers: () => [], constants: {},
  hash: (name, data, encoding = "hex") => createHash(name).update(data).digest(encoding),
};
for (const name of ["createCipheriv", "createDecipheriv", "createSign", "createVerify", "generateKeyPairSync", "generateKeyPair", "scrypt", "scryptSync", "createECDH", "createDiffieHellman", "publicEncrypt", "privateDecrypt", "sign", "verify"]) {
  exported[name] = () => {
    throw unavailable(`crypto.${name}`, "hashes, HMAC, PBKDF2 and randomness are what there is");
  };
}

module.exports = exported;
