/* Memory: brk and mmap over a linear memory that only grows. What is unmapped is kept for the next; a file is read, not mapped. */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include "syscall.h"
#include "wasm.h"

#define WASM_PAGE 65536u
#define PAGE 4096u
#define FREE_MAX 512

extern unsigned char __heap_base;

/* Ranges that were given back, apart from one another and in order. */
static struct { uintptr_t start, end; } ranges[FREE_MAX];
static unsigned range_count;
/* Everything from here to the end of memory is free. */
static uintptr_t top;

static uintptr_t memory_end(void) { return (uintptr_t)__builtin_wasm_memory_size(0) * WASM_PAGE; }

static uintptr_t grow(size_t bytes)
{
	if (!top) top = ((uintptr_t)&__heap_base + PAGE - 1) & -PAGE;
	uintptr_t start = top, end = start + bytes;
	if (end < start) return 0;
	if (end > memory_end()) {
		uintptr_t pages = (end - memory_end() + WASM_PAGE - 1) / WASM_PAGE;
		if (__builtin_wasm_memory_grow(0, pages) == (size_t)-1) return 0;
	}
	top = end;
	return start;
}

/* Memory for what is needed before there is a heap. */
void *__early(size_t bytes) { return (void *)grow((bytes + PAGE - 1) & -PAGE); }

long __wasm_munmap(long, long);

static long map(long length)
{
	size_t bytes = ((size_t)length + PAGE - 1) & -PAGE;
	if (!bytes || bytes < (size_t)length) return -EINVAL;
	for (unsigned i = 0; i < range_count; i++) {
		if (ranges[i].end - ranges[i].start < bytes) continue;
		uintptr_t start = ranges[i].start;
		ranges[i].start += bytes;
		if (ranges[i].start == ranges[i].end) {
			range_count--;
			memmove(ranges + i, ranges + i + 1, (range_count - i) * sizeof *ranges);
		}
		memset((void *)start, 0, bytes);
		return start;
	}
	uintptr_t start = grow(bytes);
	return start ? (long)start : -ENOMEM;
}

long __wasm_mmap(long address, long length, long protection, long flags, long fd, long offset)
{
	if (flags & MAP_FIXED) return -ENODEV;
	if (flags & MAP_ANONYMOUS) return map(length);
	/* What is written to a shared map would have to reach the file. */
	if ((flags & MAP_SHARED) && (protection & PROT_WRITE)) return -ENODEV;
	long start = map(length);
	if (start < 0 && start > -4096) return start;
	uint64_t at = (uint64_t)(unsigned long)offset * 4096;
	for (size_t got = 0; got < (size_t)length;) {
		long answer = __host_syscall(SYS_pread64, fd, start + got, length - got, (long)(at + got), (long)((at + got) >> 32), 0);
		if (answer < 0) {
			__wasm_munmap(start, length);
			return answer;
		}
		if (!answer) break;
		got += answer;
	}
	return start;
}

long __wasm_munmap(long address, long length)
{
	uintptr_t start = address, end = start + (((size_t)length + PAGE - 1) & -PAGE);
	unsigned i = 0;
	while (i < range_count && ranges[i].end < start) i++;
	if (i < range_count && ranges[i].start <= end) {
		/* Beside or between what is free already. */
		if (start < ranges[i].start) ranges[i].start = start;
		if (end > ranges[i].end) ranges[i].end = end;
		while (i + 1 < range_count && ranges[i + 1].start <= ranges[i].end) {
			if (ranges[i + 1].end > ranges[i].end) ranges[i].end = ranges[i + 1].end;
			range_count--;
			memmove(ranges + i + 1, ranges + i + 2, (range_count - i - 1) * sizeof *ranges);
		}
		return 0;
	}
	/* More ranges than can be kept: the rest stays unused. */
	if (range_count == FREE_MAX) return 0;
	memmove(ranges + i + 1, ranges + i, (range_count - i) * sizeof *ranges);
	ranges[i].start = start;
	ranges[i].end = end;
	range_count++;
	return 0;
}
