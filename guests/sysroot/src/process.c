/* Processes without fork: a copy that enters a function, and a child that borrows its parent until it execs. */
#include <errno.h>
#include "pthread_impl.h"
#include <sandglass.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#include "syscall.h"
#include "wasm.h"

#undef vfork

#define DEPTH 8

/* Where borrowing children give their parents back; children borrow from children. */
static struct { jmp_buf place; pid_t child; } borrowed[DEPTH];
int __borrowing;
static pid_t came_back;

pid_t __vfork_begin(void)
{
	if (__borrowing == DEPTH) {
		errno = EAGAIN;
		return -1;
	}
	long pid = __host_borrow();
	if (pid < 0) {
		errno = -pid;
		return -1;
	}
	borrowed[__borrowing++].child = pid;
	return 0;
}

jmp_buf *__vfork_place(void) { return &borrowed[__borrowing - 1].place; }
pid_t __vfork_pid(void) { return came_back; }

/* The child is on its own now, or over: this is its parent again. */
static _Noreturn void give_back(void)
{
	__borrowing--;
	came_back = borrowed[__borrowing].child;
	longjmp(borrowed[__borrowing].place, 1);
}

int execve(const char *path, char *const argv[], char *const envp[])
{
	long answer = __wasm_syscall(SYS_execve, (long)path, (long)argv, (long)envp, __borrowing, 0, 0);
	if (answer < 0) return __syscall_ret(answer);
	give_back();
}

_Noreturn void _Exit(int code)
{
	__wasm_syscall(SYS_exit_group, code, __borrowing, 0, 0, 0, 0);
	give_back();
}

pid_t __fork_into(void (*entry)(void *), void *argument)
{
	long pid = __host_fork((long)(uintptr_t)entry, (long)(uintptr_t)argument);
	return __syscall_ret(pid);
}

/* Where a copied process begins. */
__attribute__((export_name("sandglass_child"))) void __sandglass_child(void (*entry)(void *), void *argument)
{
	__borrowing = 0;
	/* raise and abort are for this process, not for its parent. */
	__pthread_self()->tid = __wasm_syscall(SYS_gettid, 0, 0, 0, 0, 0, 0);
	entry(argument);
	_Exit(127);
}

/* posix_spawn, popen and system come here. */
int __clone(int (*function)(void *), void *stack, int flags, void *argument, ...)
{
	if (!(flags & 0x4000)) return -ENOSYS; /* CLONE_VFORK */
	if (__vfork_begin() < 0) return -errno;
	if (setjmp(*__vfork_place())) return came_back;
	_Exit(function(argument));
}

pid_t fork(void)
{
	errno = ENOSYS;
	return -1;
}

pid_t _Fork(void) { return fork(); }
pid_t vfork(void) { return fork(); }

int __pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict attributes,
	void *(*entry)(void *), void *restrict argument)
{
	return EAGAIN;
}
__attribute__((__weak__, __alias__("__pthread_create"))) int pthread_create(pthread_t *restrict,
	const pthread_attr_t *restrict, void *(*)(void *), void *restrict);
_Noreturn void pthread_exit(void *result) { _Exit(0); }
int pthread_join(pthread_t thread, void **result) { return ESRCH; }
void __synccall(void (*function)(void *), void *argument) { function(argument); }
void __tl_lock(void) {}
void __tl_unlock(void) {}
void __tl_sync(pthread_t thread) {}
void __unmapself(void *base, size_t size) { __builtin_trap(); }
void __vm_wait(void) {}
void __vm_lock(void) {}
void __vm_unlock(void) {}
