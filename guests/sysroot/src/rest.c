/* Programs that go on from turn to turn: what they say when they rest, and what they are given when they go on. */
#include <sandglass.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "syscall.h"
#include "wasm.h"

/* A number that Linux does not have. */
#define SYS_rest 5000

int __rest(void (*entry)(void *), void *argument, int status, const char *text, size_t length)
{
	return __syscall_ret(__host_syscall(SYS_rest, (long)(uintptr_t)entry, (long)(uintptr_t)argument, status, (long)text, length, 0));
}

char **__given(int *count, char ***environment)
{
	size_t bytes = __host_start_size();
	uint32_t *blob = malloc(bytes);
	if (!blob) return 0;
	__host_start(blob, &__signal_waits);
	uint32_t argc = blob[0], envc = blob[1];
	size_t words = (argc + envc + 2) * sizeof(char *);
	char **vector = malloc(words + bytes), **at = vector;
	if (vector) {
		char *text = memcpy((char *)vector + words, blob + 2, bytes - 8);
		for (uint32_t i = 0; i < argc; i++, text += strlen(text) + 1) *at++ = text;
		*at++ = 0;
		*environment = at;
		for (uint32_t i = 0; i < envc; i++, text += strlen(text) + 1) *at++ = text;
		*at++ = 0;
		*count = argc;
	}
	free(blob);
	return vector;
}
