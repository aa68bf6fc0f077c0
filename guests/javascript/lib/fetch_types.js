// Headers, Request and Response, as far as programs make them without a network.
"use strict";

class Headers {
  #list = new Map();
  constructor(init) {
    if (init) for (const [name, value] of typeof init[Symbol.iterator] === "function" ? init : Object.entries(init)) this.append(name, value);
  }
  append(name, value) {
    const key = String(name).toLowerCase();
    this.#list.set(key, this.#list.has(key) ? `${this.#list.get(key)}, ${value}` : String(value));
  }
  set(name, value) {
    this.#list.set(String(name).toLowerCase(), String(value));
  }
  get(name) {
    return this.#list.get(String(name).toLowerCase()) ?? null;
  }
  has(name) {
    return this.#list.has(String(name).toLowerCase());
  }
  delete(name) {
    this.#list.delete(String(name).toLowerCase());
  }
  *[Symbol.iterator]() {
    yield* [...this.#list].sort(([left], [right]) => (left < right ? -1 : 1));
  }
  entries() {
    return this[Symbol.iterator]();
  }
  *keys() {
    for (const [name] of this) yield name;
  }
  *values() {
    for (const [, value] of this) yield value;
  }
  forEach(callback) {
    for (const [name, value] of this) callback(value, name, this);
  }
}

class Body {
  #bytes;
  bodyUsed = false;
  constructor(body) {
    this.#bytes = require("buffer").Buffer.from(body ?? "");
  }
  #take() {
    if (this.bodyUsed) throw new TypeError("Body is unusable: Body has already been read");
    this.bodyUsed = true;
    return this.#bytes;
  }
  async text() {
    return this.#take().toString();
  }
  async json() {
    return JSON.parse(this.#take().toString());
  }
  async arrayBuffer() {
    const bytes = this.#take();
    return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
  }
}
class Response extends Body {
  constructor(body, { status = 200, statusText = "", headers } = {}) {
    super(body);
    Object.assign(this, { status, statusText, ok: status >= 200 && status < 300, headers: new Headers(headers), url: "", redirected: false, type: "default" });
  }
  static json(value, init = {}) {
    return new Response(JSON.stringify(value), { ...init, headers: { "content-type": "application/json", ...init.headers } });
  }
  static error() {
    return new Response(null, { status: 200 });
  }
}
class Request extends Body {
  constructor(input, { method = "GET", headers, body } = {}) {
    super(body);
    Object.assign(this, { url: String(new URL(String(input?.url ?? input))), method: method.toUpperCase(), headers: new Headers(headers) });
  }
}

module.exports = { Headers, Request, Response };
