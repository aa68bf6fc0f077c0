// The module `v8`, as far as another engine can tell.
"use strict";
module.exports = {
  getHeapStatistics: () => {
    const [all, used] = host.memory();
    return { total_heap_size: all, used_heap_size: used, heap_size_limit: 2 ** 32, total_available_size: 2 ** 32 - used, malloced_memory: used };
  },
  setFlagsFromString() {},
  serialize: (value) => require("buffer").Buffer.from(JSON.stringify(value)),
  deserialize: (bytes) => JSON.parse(bytes.toString()),
};
