// Timers, ticks and the event loop: one macrotask, then all ticks and promise callbacks, until nothing is left.
"use strict";

const { checkFunction } = require("errors");

const ticks = [];
let ticksHead = 0;
const timeouts = new Map(); // id -> Timeout, in no order; due ones are picked by time, then by age.
let immediates = [];
let lastId = 0;
/** Work that waits for its turn as input does: [function, arguments, context]. */
const pending = [];
const clock = () => Number(host.monotonic() / 1000n) / 1000;

class Timeout {
  constructor(callback, delay, args, repeat) {
    delay = Number(delay);
    if (!(delay >= 1 && delay <= 2147483647)) delay = 1;
    delay = Math.trunc(delay);
    this._idleTimeout = delay;
    this._onTimeout = callback;
    this._repeat = repeat ? delay : null;
    Object.defineProperty(this, "state", { value: { id: ++lastId, due: clock() + delay, args, ref: true, order: lastId, context: context() } });
    timeouts.set(this.state.id, this);
  }
  ref() {
    this.state.ref = true;
    return this;
  }
  unref() {
    this.state.ref = false;
    return this;
  }
  hasRef() {
    return this.state.ref;
  }
  refresh() {
    this.state.due = clock() + this._idleTimeout;
    timeouts.set(this.state.id, this);
    return this;
  }
  close() {
    clearTimeout(this);
    return this;
  }
  [Symbol.toPrimitive]() {
    return this.state.id;
  }
}

class Immediate {
  constructor(callback, args) {
    this._onImmediate = callback;
    Object.defineProperty(this, "state", { value: { args, ref: true, context: context() } });
    immediates.push(this);
  }
  ref() {
    this.state.ref = true;
    return this;
  }
  unref() {
    this.state.ref = false;
    return this;
  }
  hasRef() {
    return this.state.ref;
  }
}

function setTimeout(callback, delay, ...args) {
  checkFunction(callback, "callback");
  return new Timeout(callback, delay, args, false);
}

function setInterval(callback, delay, ...args) {
  checkFunction(callback, "callback");
  return new Timeout(callback, delay, args, true);
}

function setImmediate(callback, ...args) {
  checkFunction(callback, "callback");
  return new Immediate(callback, args);
}

function clearTimeout(timer) {
  if (timer == null) return;
  timeouts.delete(typeof timer === "object" ? timer.state?.id : Number(timer));
}

function clearImmediate(immediate) {
  if (immediate instanceof Immediate) immediate._onImmediate = null;
}

function nextTick(callback, ...args) {
  checkFunction(callback, "callback");
  ticks.push(callback, args, context());
}

function queueMicrotask(callback) {
  checkFunction(callback, "callback");
  Promise.resolve().then(() => guard(callback, []));
}

/** Gives what the code that runs belongs to; see async_hooks.js. */
function context() {
  const now = host.swapContext(undefined);
  host.swapContext(now);
  return now;
}

/** Runs a callback in its context; what it throws goes to the process's handler of uncaught errors. */
function guard(callback, args, self, within) {
  const before = host.swapContext(within);
  try {
    Reflect.apply(callback, self, args);
  } catch (error) {
    require("process").uncaught(error);
  }
  host.swapContext(before);
}

/** Runs all ticks and promise callbacks, and tells of rejections that nobody handled. */
function drain() {
  for (;;) {
    while (ticksHead < ticks.length) {
      const callback = ticks[ticksHead++];
      const args = ticks[ticksHead++];
      guard(callback, args, undefined, ticks[ticksHead++]);
      if (ticksHead > 1023) ticks.splice(0, ticksHead), (ticksHead = 0);
    }
    ticks.length = ticksHead = 0;
    try {
      host.runJobs();
    } catch (error) {
      require("process").uncaught(error);
    }
    if (ticks.length === 0 && !require("process").settleRejections()) return;
  }
}

function runTimers() {
  const now = clock();
  const due = [...timeouts.values()].filter((timer) => timer.state.due <= now);
  due.sort((a, b) => a.state.due - b.state.due || a.state.order - b.state.order);
  for (const timer of due) {
    if (!timeouts.has(timer.state.id)) continue;
    if (timer._repeat === null) timeouts.delete(timer.state.id);
    guard(timer._onTimeout, timer.state.args, timer, timer.state.context);
    drain();
    if (timer._repeat !== null) timer.state.due = Math.max(clock(), timer.state.due + timer._repeat);
  }
}

/** Who waits for a descriptor: [descriptor, events, callback, its context]. */
let watchers = [];
/** Children that run: process number -> what to do when one has ended, and in which context. */
const children = new Map();
const POLLIN = 1;
const POLLOUT = 4;

/** Calls back once when something can be read, or nothing will come any more. */
function whenReadable(fd, callback) {
  watchers.push([fd, POLLIN, callback, context()]);
}

/** Calls back once when something can be written. */
function whenWritable(fd, callback) {
  watchers.push([fd, POLLOUT, callback, context()]);
}

/** Calls back with exit status and signal when a child has ended. */
function whenEnded(pid, callback) {
  children.set(pid, [callback, context()]);
}

/** Waits for descriptors and children, for `wait` milliseconds at most; -1 is for ever. */
function poll(wait) {
  // A child's end interrupts no poll: it is looked for again and again.
  const step = children.size > 0 && (wait < 0 || wait > 5) ? 5 : Math.ceil(wait);
  const ready = watchers.length > 0 ? host.poll(watchers.flatMap(([fd, events]) => [fd, events]), step) : (step > 0 && host.sleep(step), []);
  const fired = watchers.filter((_, index) => ready[index] > 0);
  watchers = watchers.filter((_, index) => !(ready[index] > 0));
  for (const [, , callback, within] of fired) {
    guard(callback, [], undefined, within);
    drain();
  }
  for (const [pid, [callback, within]] of [...children]) {
    const found = host.waitpid(pid, false);
    if (typeof found === "number") children.delete(pid);
    else if (found[0] === pid) {
      children.delete(pid);
      // What it wrote last is read before its end is told.
      later(() => later(() => guard(callback, [found[1], found[2]], undefined, within)));
    }
  }
}

/** Runs until nothing is left to do. Says whether there was anything to wait for. */
function loop() {
  drain();
  for (let turns = 0; ; turns++) {
    if (stopped) return forget();
    if (timeouts.size > 0) runTimers();
    for (let count = pending.length; count > 0 && pending.length > 0; count--) {
      const [callback, args, within] = pending.shift();
      guard(callback, args, undefined, within);
      drain();
    }
    const now = immediates;
    immediates = [];
    for (const immediate of now) {
      if (immediate._onImmediate === null || stopped) continue;
      guard(immediate._onImmediate, immediate.state.args, immediate, immediate.state.context);
      drain();
    }
    if (pending.length > 0 || immediates.some((immediate) => immediate.state.ref)) {
      if (watchers.length + children.size > 0) poll(0);
      continue;
    }
    let next = Infinity;
    for (const timer of timeouts.values()) if (timer.state.ref) next = Math.min(next, timer.state.due);
    const watches = watchers.length + children.size > 0;
    if (next === Infinity && !watches) return turns > 0;
    for (const timer of timeouts.values()) next = Math.min(next, timer.state.due);
    const wait = next === Infinity ? -1 : Math.max(0, next - clock());
    if (watches) poll(wait);
    else if (wait > 0) host.sleep(wait);
  }
}

let stopped = false;

/** Says whether nothing more is to run: what waits is forgotten. */
function stop(is) {
  stopped = is;
  if (is) forget();
}

function forget() {
  ticks.length = ticksHead = pending.length = 0;
  immediates = [];
  watchers = [];
  timeouts.clear();
  children.clear();
  return false;
}

/** Calls back in a later turn, as a finished read or write does. */
function later(callback, ...args) {
  pending.push([callback, args, context()]);
}

module.exports = {
  setTimeout, setInterval, setImmediate, clearTimeout, clearInterval: clearTimeout, clearImmediate,
  nextTick, queueMicrotask, loop, stop, drain, guard, later, whenReadable, whenWritable, whenEnded,
};
