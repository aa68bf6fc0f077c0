// structuredClone.
"use strict";

function refuse(value) {
  const { DOMException } = require("dom_exception");
  const shown = typeof value === "symbol" ? String(value) : typeof value === "function" ? String(value) : `#<${value.constructor?.name ?? "Object"}>`;
  throw new DOMException(`${shown} could not be cloned.`, "DataCloneError");
}

function structuredClone(value, options) {
  const seen = new Map();
  const clone = (one) => {
    if (typeof one === "symbol" || typeof one === "function") refuse(one);
    if (typeof one !== "object" || one === null) return one;
    if (seen.has(one)) return seen.get(one);
    const keep = (copy) => (seen.set(one, copy), copy);
    const kind = host.className(one);
    switch (kind) {
      case "Boolean": case "Number": case "String": case "BigInt": return keep(Object(one.valueOf()));
      case "Date": return keep(new Date(one.getTime()));
      case "RegExp": return keep(new RegExp(one.source, one.flags));
      case "ArrayBuffer": return keep(one.slice(0));
      case "Map": {
        const copy = keep(new Map());
        for (const [key, item] of one) copy.set(clone(key), clone(item));
        return copy;
      }
      case "Set": {
        const copy = keep(new Set());
        for (const item of one) copy.add(clone(item));
        return copy;
      }
      case "Error": {
        const Kind = { EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError }[one.name] ?? Error;
        const copy = keep(new Kind(one.message));
        copy.stack = one.stack;
        if ("cause" in one) copy.cause = clone(one.cause);
        return copy;
      }
      case "Promise": case "WeakMap": case "WeakSet": case "WeakRef": case "Generator": return refuse(one);
    }
    if (ArrayBuffer.isView(one)) {
      const buffer = clone(one.buffer);
      const Kind = one.constructor === require("buffer").Buffer ? Uint8Array : one.constructor;
      return keep(new Kind(buffer, one.byteOffset, one.length ?? one.byteLength));
    }
    const copy = keep(Array.isArray(one) ? new Array(one.length) : {});
    for (const key of Object.keys(one)) copy[key] = clone(one[key]);
    return copy;
  };
  const copy = clone(value);
  for (const buffer of options?.transfer ?? []) if (buffer instanceof ArrayBuffer) host.detach(buffer);
  return copy;
}

/** Nothing is handed from thread to thread here. */
const makeTransferable = (value) => value;

module.exports = {
  structuredClone, makeTransferable, kClone: Symbol("clone"), kDeserialize: Symbol("deserialize"), kTransfer: Symbol("transfer"),
  kTransferList: Symbol("transfer list"),
};
