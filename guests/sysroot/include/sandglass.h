/* What a program here can do that no other system has: the ways to start another one, and to rest. */
#ifndef _SANDGLASS_H
#define _SANDGLASS_H

#include <setjmp.h>
#include <stddef.h>
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

/* This process rests: its instance is left here, and goes on in `entry` with the stack as it is now, when it has something to do.
   What it says of the turn that is over: an exit status and, if `text` is not null, a result. Comes back only where nobody waits
   for this, with -1 and ENOSYS. */
int __rest(void (*entry)(void *), void *argument, int status, const char *text, size_t length);
/* The arguments that this process is given now, to be freed at once, and its environment. */
char **__given(int *count, char ***environment);

#endif
