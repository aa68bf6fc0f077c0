// The module `async_hooks`: what a piece of code belongs to, carried along by promises, timers and callbacks. A context is
// { id, stores }: the number of the resource that the code runs for, and the values of storages.
"use strict";

const { checkFunction } = require("errors");

const MAIN = { id: 1, stores: new Map() };
const hooks = new Set();
let last = 1;

/** Calls with a context, and puts the old one back. */
function within(context, callback, self, args) {
  const before = host.swapContext(context);
  try {
    return Reflect.apply(callback, self, args);
  } finally {
    host.swapContext(before);
  }
}

function current() {
  const context = host.swapContext(undefined);
  host.swapContext(context);
  return context || MAIN;
}

function withStore(storage, value) {
  const { id, stores } = current();
  const own = new Map(stores);
  if (value === undefined) own.delete(storage);
  else own.set(storage, value);
  return { id, stores: own };
}

class AsyncLocalStorage {
  run(value, callback, ...args) {
    return within(withStore(this, value), callback, undefined, args);
  }
  exit(callback, ...args) {
    return this.run(undefined, callback, ...args);
  }
  enterWith(value) {
    host.swapContext(withStore(this, value));
  }
  getStore() {
    return current().stores.get(this);
  }
  disable() {
    this.enterWith(undefined);
  }
  static bind(callback) {
    checkFunction(callback, "fn");
    const context = current();
    return function bound(...args) {
      return within(context, callback, this, args);
    };
  }
  static snapshot() {
    return AsyncLocalStorage.bind((callback, ...args) => callback(...args));
  }
}

class AsyncResource {
  #context;
  #trigger;
  constructor(type, options = {}) {
    const { id, stores } = current();
    this.#trigger = (typeof options === "number" ? options : options?.triggerAsyncId) ?? id;
    this.#context = { id: ++last, stores };
    for (const hook of hooks) hook.init?.(this.#context.id, type, this.#trigger, this);
  }
  runInAsyncScope(callback, self, ...args) {
    return within(this.#context, callback, self, args);
  }
  bind(callback, self) {
    checkFunction(callback, "fn");
    const resource = this;
    return function bound(...args) {
      return resource.runInAsyncScope(callback, self === undefined ? this : self, ...args);
    };
  }
  emitDestroy() {
    for (const hook of hooks) hook.destroy?.(this.#context.id);
    return this;
  }
  asyncId() {
    return this.#context.id;
  }
  triggerAsyncId() {
    return this.#trigger;
  }
  static bind(callback, type, self) {
    return new AsyncResource(type || callback.name || "bound-anonymous-fn").bind(callback, self);
  }
}

/** Hooks hear of resources that are made by name; promises and timers are none. */
function createHook(callbacks) {
  return {
    enable() {
      hooks.add(callbacks);
      return this;
    },
    disable() {
      hooks.delete(callbacks);
      return this;
    },
  };
}

module.exports = {
  AsyncLocalStorage, AsyncResource, createHook, executionAsyncId: () => current().id, triggerAsyncId: () => 0,
  executionAsyncResource: () => ({}), asyncWrapProviders: Object.freeze({ __proto__: null }),
};
