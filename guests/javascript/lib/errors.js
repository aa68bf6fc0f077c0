// Errors with codes, as node makes them, and the names of system errors.
"use strict";

// Error numbers of Linux: [name, words].
const system = {
  1: ["EPERM", "operation not permitted"], 2: ["ENOENT", "no such file or directory"], 3: ["ESRCH", "no such process"],
  4: ["EINTR", "interrupted system call"], 5: ["EIO", "i/o error"], 6: ["ENXIO", "no such device or address"],
  7: ["E2BIG", "argument list too long"], 8: ["ENOEXEC", "exec format error"], 9: ["EBADF", "bad file descriptor"],
  10: ["ECHILD", "no child processes"], 11: ["EAGAIN", "resource temporarily unavailable"], 12: ["ENOMEM", "not enough memory"],
  13: ["EACCES", "permission denied"], 14: ["EFAULT", "bad address in system call argument"], 16: ["EBUSY", "resource busy or locked"],
  17: ["EEXIST", "file already exists"], 18: ["EXDEV", "cross-device link not permitted"], 19: ["ENODEV", "no such device"],
  20: ["ENOTDIR", "not a directory"], 21: ["EISDIR", "illegal operation on a directory"], 22: ["EINVAL", "invalid argument"],
  23: ["ENFILE", "file table overflow"], 24: ["EMFILE", "too many open files"], 25: ["ENOTTY", "inappropriate ioctl for device"],
  26: ["ETXTBSY", "text file is busy"], 27: ["EFBIG", "file too large"], 28: ["ENOSPC", "no space left on device"],
  29: ["ESPIPE", "invalid seek"], 30: ["EROFS", "read-only file system"], 31: ["EMLINK", "too many links"], 32: ["EPIPE", "broken pipe"],
  34: ["ERANGE", "result too large"], 36: ["ENAMETOOLONG", "name too long"], 38: ["ENOSYS", "function not implemented"],
  39: ["ENOTEMPTY", "directory not empty"], 40: ["ELOOP", "too many symbolic links encountered"], 84: ["EILSEQ", "illegal byte sequence"],
  95: ["ENOTSUP", "operation not supported on socket"], 110: ["ETIMEDOUT", "connection timed out"],
  111: ["ECONNREFUSED", "connection refused"], 125: ["ECANCELED", "operation canceled"],
};

/** Makes the error of a failed system call from its negative number. */
function systemError(result, syscall, path, dest) {
  const [code, words] = system[-result] ?? ["EUNKNOWN", `unknown error ${-result}`];
  const where = path === undefined ? "" : dest === undefined ? ` '${path}'` : ` '${path}' -> '${dest}'`;
  return nativeError(code, -result, words, syscall, where, path, dest);
}

function nativeError(code, errno, words, syscall, where, path, dest) {
  const error = new Error(`${code}: ${words}, ${syscall}${where}`);
  error.errno = -errno;
  error.code = code;
  error.syscall = syscall;
  if (path !== undefined) error.path = path;
  if (dest !== undefined) error.dest = dest;
  return error;
}

/** Makes an error whose stack reads `Name [CODE]: message`, as those of node do. */
function coded(Kind, code, message) {
  const error = new Kind(message);
  const name = error.name;
  Object.defineProperty(error, "name", { value: `${name} [${code}]`, configurable: true, writable: true });
  error.stack = `${name} [${code}]: ${message}\n` + error.stack.split("\n").filter((line) => /^ {4}at /.test(line)).join("\n");
  delete error.name;
  error.code = code;
  Object.defineProperty(error, "toString", { value() { return `${this.name} [${code}]: ${this.message}`; }, configurable: true, writable: true });
  return error;
}

function received(value) {
  if (value == null) return ` Received ${value}`;
  if (typeof value === "function") return ` Received function ${value.name}`;
  if (typeof value === "object") {
    if (value.constructor?.name) return ` Received an instance of ${value.constructor.name}`;
    return ` Received ${require("internal/util/inspect").inspect(value, { depth: -1 })}`;
  }
  let shown = require("internal/util/inspect").inspect(value, { colors: false });
  if (shown.length > 28) shown = shown.slice(0, 25) + "...";
  return ` Received type ${typeof value} (${shown})`;
}

function oneOf(words) {
  return words.length < 3 ? words.join(" or ") : `${words.slice(0, -1).join(", ")}, or ${words.at(-1)}`;
}

/** Makes the TypeError for an argument of the wrong type. */
function invalidArgType(name, expected, value) {
  const list = Array.isArray(expected) ? expected : [expected];
  const primitives = list.filter((word) => /^[a-z]/.test(word) && word !== "Object").map((word) => (word === "function" ? "function" : word));
  const classes = list.filter((word) => /^[A-Z]/.test(word));
  const parts = [];
  if (primitives.length > 0) parts.push(`${primitives.length > 1 ? "one of type" : "of type"} ${oneOf(primitives)}`);
  if (classes.length > 0) parts.push(`an instance of ${oneOf(classes)}`);
  const subject = /\s/.test(name) ? `The ${name}` : `The "${name}" ${name.includes(".") ? "property" : "argument"}`;
  return coded(TypeError, "ERR_INVALID_ARG_TYPE", `${subject} must be ${parts.join(" or ")}.${received(value)}`);
}

/** Makes the error for an argument of the right type with a wrong value. */
function invalidArgValue(name, value, reason = "is invalid") {
  const kind = name.includes(".") ? "property" : "argument";
  return coded(TypeError, "ERR_INVALID_ARG_VALUE", `The ${kind} '${name}' ${reason}. Received ${require("internal/util/inspect").inspect(value)}`);
}

function outOfRange(name, range, value) {
  const shown = typeof value === "number" && Number.isInteger(value) && Math.abs(value) > 2 ** 32
    ? String(value).replace(/\B(?=(\d{3})+$)/g, "_") : require("internal/util/inspect").inspect(value);
  return coded(RangeError, "ERR_OUT_OF_RANGE", `The value of "${name}" is out of range. It must be ${range}. Received ${shown}`);
}

function checkString(value, name) {
  if (typeof value !== "string") throw invalidArgType(name, "string", value);
}

function checkFunction(value, name) {
  if (typeof value !== "function") throw invalidArgType(name, "function", value);
}

/** Makes the error of a thing that this guest does not have, with what to do instead. */
function unavailable(what, instead) {
  return coded(Error, "ERR_FEATURE_UNAVAILABLE", `${what} is not available in this sandbox${instead ? ": " + instead : ""}`);
}

module.exports = {
  system, systemError, nativeError, coded, invalidArgType, invalidArgValue, outOfRange, checkString, checkFunction, unavailable,
};
