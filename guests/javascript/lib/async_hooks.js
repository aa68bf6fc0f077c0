// The module `async_hooks`: AsyncLocalStorage as far as one turn goes, and resources by name.
"use strict";

class AsyncLocalStorage {
  #value;
  run(value, callback, ...args) {
    const before = this.#value;
    this.#value = value;
    try {
      return callback(...args);
    } finally {
      this.#value = before;
    }
  }
  exit(callback, ...args) {
    return this.run(undefined, callback, ...args);
  }
  enterWith(value) {
    this.#value = value;
  }
  getStore() {
    return this.#value;
  }
  disable() {
    this.#value = undefined;
  }
  static bind(callback) {
    return callback;
  }
  static snapshot() {
    return (callback, ...args) => callback(...args);
  }
}
class AsyncResource {
  constructor(type) {
    this.type = type;
  }
  runInAsyncScope(callback, self, ...args) {
    return Reflect.apply(callback, self, args);
  }
  bind(callback) {
    return callback.bind(null);
  }
  emitDestroy() {
    return this;
  }
  asyncId() {
    return 1;
  }
  triggerAsyncId() {
    return 0;
  }
  static bind(callback) {
    return callback;
  }
}
module.exports = {
  AsyncLocalStorage, AsyncResource, createHook: () => ({ enable() { return this; }, disable() { return this; } }), executionAsyncId: () => 1,
  triggerAsyncId: () => 0, executionAsyncResource: () => ({}),
};
