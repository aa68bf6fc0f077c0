// What node's Blob keeps its bytes in: one piece of memory, since nothing here is read from files later.
"use strict";

class Bytes {
  constructor(bytes) {
    this.bytes = bytes;
  }
  slice(start, end) {
    return new Bytes(this.bytes.subarray(start, end));
  }
  /** A reader gives everything at once, and then says that it was all. */
  getReader() {
    let left = this.bytes.length > 0 ? this.bytes.slice().buffer : undefined;
    return {
      pull(take) {
        const given = left;
        left = undefined;
        if (given === undefined) take(0);
        else take(1, given);
      },
    };
  }
}

function joined(parts) {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  parts.reduce((at, part) => (all.set(part, at), at + part.length), 0);
  return all;
}

module.exports = {
  createBlob: (sources) => new Bytes(joined(sources.map((source) => source.bytes ?? source))),
  concat: (buffers) => joined(buffers.map((buffer) => new Uint8Array(buffer))).buffer,
  // Blobs by URL (`URL.createObjectURL`) are not kept.
  storeDataObject() {},
  getDataObject() {},
  revokeObjectURL() {},
};
