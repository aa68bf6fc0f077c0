// Never has nothing to do.
setInterval(() => {}, 1);
setTimeout(() => {}, 2 ** 31 - 1);
