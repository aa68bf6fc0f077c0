// The module `tty`: whether something is a terminal.
"use strict";
const { Input, Output } = require("stdio");
module.exports = { isatty: (fd) => Number.isInteger(fd) && fd >= 0 && host.isatty(fd), ReadStream: Input, WriteStream: Output };
