/* The one way out: memory is managed here, everything else is the host's. */
#include <errno.h>
#include "syscall.h"
#include "wasm.h"

long __wasm_mmap(long, long, long, long, long, long);
long __wasm_munmap(long, long);
void __wasm_signals(void);
extern unsigned long __wasm_thread_pointer;

/* The host writes 1 here when a signal is to be handled. */
volatile int __signal_waits;

long __wasm_syscall(long n, long a, long b, long c, long d, long e, long f)
{
	switch (n) {
	case SYS_brk: return 0;
	case SYS_mmap2: return __wasm_mmap(a, b, c, d, e, f);
	case SYS_munmap: return __wasm_munmap(a, b);
	case SYS_mprotect:
	case SYS_madvise: return 0;
	case SYS_mremap: return -ENOMEM;
	case SYS_futex: return -ENOSYS;
	case SYS_set_robust_list: return 0;
	}
	long answer = __host_syscall(n, a, b, c, d, e, f);
	if (__signal_waits) {
		__signal_waits = 0;
		__wasm_signals();
	}
	return answer;
}

int __set_thread_area(void *to)
{
	__wasm_thread_pointer = (unsigned long)to;
	return 0;
}
