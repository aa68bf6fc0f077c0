/* Where a program begins: its arguments, its constructors, main. */
#include <features.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "libc.h"
#include "wasm.h"

void *__early(size_t);
#define sbrk_start __early

uintptr_t __wasm_thread_pointer;

void __wasm_call_ctors(void);
void __init_libc(char **, char *);
int __main_argc_argv(int, char **) __attribute__((__weak__));

static int count;
static char **arguments;

/* A main that takes the environment too. */
int __main_three(int, char **, char **) __asm__("main") __attribute__((__weak__));

/* A main that takes nothing has this name. */
__attribute__((__weak__)) int __main_void(void)
{
	if (__main_three) return __main_three(count, arguments, __environ);
	return __main_argc_argv(count, arguments);
}

__attribute__((export_name("_start"))) void _start(void)
{
	uint32_t *blob = sbrk_start(__host_start_size());
	__host_start(blob, &__signal_waits);
	uint32_t argc = blob[0], envc = blob[1];
	char *text = (char *)(blob + 2);
	/* As the kernel lays it out: argv, environment, auxiliary vector. */
	char **vector = sbrk_start((argc + envc + 2) * sizeof *vector + 2 * 8 * sizeof(size_t));
	char **at = vector;
	for (uint32_t i = 0; i < argc; i++, text += strlen(text) + 1) *at++ = text;
	*at++ = 0;
	char **environment = at;
	for (uint32_t i = 0; i < envc; i++, text += strlen(text) + 1) *at++ = text;
	*at++ = 0;
	size_t *aux = (size_t *)at;
	*aux++ = 6 /* AT_PAGESZ */, *aux++ = 4096;
	*aux++ = 0, *aux++ = 0;
	count = argc;
	arguments = vector;
	__init_libc(environment, vector[0]);
	__wasm_call_ctors();
	exit(__main_void());
}
