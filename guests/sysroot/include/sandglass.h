/* What a program here can do that no other system has: the ways to start another one. */
#ifndef _SANDGLASS_H
#define _SANDGLASS_H

#include <setjmp.h>
#include <sys/types.h>
/* Before the macro, which has the name of a function there. */
#include <unistd.h>

/* Starts a process with a copy of this one's memory, in which `entry` runs; it must not return to its caller. */
pid_t __fork_into(void (*entry)(void *), void *argument);

/* fork for programs that then exec: the child borrows this process until it execs or exits, as with vfork. */
pid_t __vfork_begin(void);
jmp_buf *__vfork_place(void);
#define vfork() (__vfork_begin() < 0 ? -1 : setjmp(*__vfork_place()) ? __vfork_pid() : 0)
pid_t __vfork_pid(void);

#endif
