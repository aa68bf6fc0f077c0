// What `assert.ok` says of a value that is not true: the expression, as the program has it.
"use strict";

/** Gives the source of the call that a stack's first line names; undefined where it can't be found. */
function expressionAt(stack) {
  const found = /^ {4}at (?:.*\()?((?:\/|file:|\[)[^()]*?):(\d+):(\d+)\)?$/m.exec(stack);
  if (!found) return undefined;
  const [, file, line, column] = found;
  const source = file.startsWith("[") ? require("main").evaluated : host.readFile(file.startsWith("file://") ? decodeURIComponent(file.slice(7)) : file, true);
  if (typeof source !== "string") return undefined;
  let start = source.split("\n").slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0) + Number(column) - 1;
  const open = source.indexOf("(", start);
  const word = /[\w$.\s]*$/.exec(source.slice(Math.max(0, (open < 0 ? start : open) - 200), open < 0 ? start : open))[0];
  start = open - word.trimStart().length;
  // The call ends where its brackets do; strings are passed over, and so are templates without values.
  const closing = { "(": ")", "[": "]", "{": "}" };
  const wanted = [];
  for (let at = open; open >= 0 && at < source.length && at - open < 2000; at++) {
    const letter = source[at];
    if (letter in closing) wanted.push(closing[letter]);
    else if (letter === wanted.at(-1)) wanted.pop();
    else if ("'\"`".includes(letter)) {
      for (at++; at < source.length && source[at] !== letter; at++) if (source[at] === "\\") at++;
    }
    if (wanted.length === 0) return source.slice(start, at + 1).replace(/\n\s*/g, "\n  ");
  }
  return undefined;
}

function innerOk(callee, count, value, message) {
  if (value) return;
  const isGenerated = count === 0 || message == null;
  if (count === 0) {
    message = "No value argument passed to `assert.ok()`";
  } else if (message == null) {
    const place = {};
    Error.captureStackTrace(place, callee);
    const expression = expressionAt(place.stack);
    message = expression === undefined ? undefined : `The expression evaluated to a falsy value:\n\n  ${expression}\n`;
  } else if (message instanceof Error) {
    throw message;
  }
  const AssertionError = require("internal/assert/assertion_error");
  const error = new AssertionError({ actual: value, expected: true, message, operator: "==", stackStartFn: callee });
  error.generatedMessage = isGenerated;
  throw error;
}

module.exports = { innerOk };
