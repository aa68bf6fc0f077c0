// The module `worker_threads`: there is one thread, and channels within it.
"use strict";

const { unavailable } = require("errors");
const { structuredClone } = require("clone");
const timers = require("timers");

class Worker {
  constructor() {
    throw unavailable("a worker thread", "start another program with child_process");
  }
}

/** One end of a channel. What is posted comes out of the other end in a later turn, as a copy. */
class MessagePort extends EventTarget {
  #other;
  #handler = null;
  #waiting = [];
  #isOpen = true;
  #starts = false;
  static join(one, two) {
    one.#other = two;
    two.#other = one;
  }
  postMessage(message, options) {
    const transfer = Array.isArray(options) ? options : options?.transfer;
    const copy = structuredClone(message, { transfer: transfer?.filter((one) => one instanceof ArrayBuffer) });
    if (!this.#isOpen || this.#other === undefined) return;
    this.#other.#waiting.push(copy);
    this.#other.#deliver();
  }
  #deliver() {
    if (!this.#starts) return;
    timers.later(() => {
      if (this.#isOpen && this.#waiting.length > 0) this.dispatchEvent(new MessageEvent("message", { data: this.#waiting.shift() }));
    });
  }
  take() {
    return this.#waiting.length > 0 ? { message: this.#waiting.shift() } : undefined;
  }
  start() {
    if (this.#starts) return;
    this.#starts = true;
    for (const _ of this.#waiting) this.#deliver();
  }
  close() {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    timers.later(() => this.dispatchEvent(new Event("close")));
    this.#other?.close();
  }
  get onmessage() {
    return this.#handler;
  }
  set onmessage(handler) {
    if (this.#handler) this.removeEventListener("message", this.#handler);
    this.#handler = typeof handler === "function" ? handler : null;
    if (this.#handler) this.addEventListener("message", this.#handler), this.start();
  }
  on(name, listener) {
    const heard = name === "message" ? (event) => listener(event.data) : () => listener();
    this.addEventListener(name, heard);
    if (name === "message") this.start();
    return this;
  }
  once(name, listener) {
    this.addEventListener(name, name === "message" ? (event) => listener(event.data) : () => listener(), { once: true });
    if (name === "message") this.start();
    return this;
  }
  ref() {}
  unref() {}
}
MessagePort.prototype.addListener = MessagePort.prototype.on;

class MessageEvent extends Event {
  #data;
  constructor(type, { data = null, ...options } = {}) {
    super(type, options);
    this.#data = data;
  }
  get data() {
    return this.#data;
  }
}

class MessageChannel {
  constructor() {
    this.port1 = new MessagePort();
    this.port2 = new MessagePort();
    MessagePort.join(this.port1, this.port2);
  }
}

module.exports = {
  isMainThread: true, parentPort: null, workerData: null, threadId: 0, resourceLimits: {}, Worker, SHARE_ENV: Symbol("SHARE_ENV"), MessageChannel,
  MessagePort, MessageEvent, receiveMessageOnPort: (port) => port.take(), markAsUntransferable: () => {}, getEnvironmentData: () => undefined,
  setEnvironmentData: () => {},
};
