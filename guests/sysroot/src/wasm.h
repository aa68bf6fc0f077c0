/* What a module imports, all of it. */
#ifndef WASM_H
#define WASM_H

#define IMPORT(name) __attribute__((import_module("sandglass"), import_name(name)))

/* A system call of Linux: its number and its arguments; a negative answer is an error. */
IMPORT("syscall") long __host_syscall(long, long, long, long, long, long, long);
/* Starts a process with a copy of this memory, which enters `sandglass_child`. */
IMPORT("fork") long __host_fork(long entry, long argument);
/* From now on this is a child of this process, until it execs or exits. */
IMPORT("borrow") long __host_borrow(void);
/* The bytes of arguments and environment; then themselves: two counts, then strings that end with NUL. The host writes 1 to
   `signal_waits` when a signal is to be handled. */
IMPORT("start_size") long __host_start_size(void);
IMPORT("start") void __host_start(void *to, volatile int *signal_waits);
/* The next signal to be handled, or 0. */
IMPORT("signal") long __host_signal(void);

extern volatile int __signal_waits;
/* How many children borrow this memory, one from another. */
extern int __borrowing;
long __wasm_syscall(long, long, long, long, long, long, long);

#endif
