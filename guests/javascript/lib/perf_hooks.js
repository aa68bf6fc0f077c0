// The module `perf_hooks`, as far as programs measure themselves with it.
"use strict";

const origin = Number(host.monotonic()) / 1e6;
const timeOrigin = host.now();
const entries = [];

class PerformanceEntry {
  constructor(name, entryType, startTime, duration, detail = null) {
    Object.assign(this, { name, entryType, startTime, duration, detail });
  }
  toJSON() {
    return { ...this };
  }
}

const performance = {
  timeOrigin,
  now: () => Number(host.monotonic()) / 1e6 - origin,
  mark(name, options = {}) {
    const entry = new PerformanceEntry(name, "mark", options.startTime ?? performance.now(), 0, options.detail);
    entries.push(entry);
    return entry;
  },
  measure(name, start, end) {
    const at = (mark, otherwise) => {
      if (mark === undefined) return otherwise;
      if (typeof mark === "number") return mark;
      const found = entries.findLast((entry) => entry.entryType === "mark" && entry.name === mark);
      if (!found) throw new SyntaxError(`The "${mark}" performance mark has not been set`);
      return found.startTime;
    };
    const options = typeof start === "object" && start !== null ? start : { start, end };
    const from = at(options.start, 0);
    const entry = new PerformanceEntry(name, "measure", from, at(options.end, performance.now()) - from, options.detail);
    entries.push(entry);
    return entry;
  },
  getEntries: () => [...entries],
  getEntriesByName: (name, type) => entries.filter((entry) => entry.name === name && (!type || entry.entryType === type)),
  getEntriesByType: (type) => entries.filter((entry) => entry.entryType === type),
  clearMarks: (name) => clear("mark", name),
  clearMeasures: (name) => clear("measure", name),
  timerify: (callback) => callback,
  eventLoopUtilization: () => ({ idle: 0, active: 0, utilization: 0 }),
  toJSON: () => ({ timeOrigin }),
};

function clear(type, name) {
  for (let index = entries.length - 1; index >= 0; index--) {
    if (entries[index].entryType === type && (name === undefined || entries[index].name === name)) entries.splice(index, 1);
  }
}

class PerformanceObserver {
  observe() {}
  disconnect() {}
}

module.exports = { performance, PerformanceEntry, PerformanceObserver, constants: {}, monitorEventLoopDelay: () => ({ enable() {}, disable() {} }) };
