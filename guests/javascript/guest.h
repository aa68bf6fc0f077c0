// What the C files of the guest share: the tables of native functions, and the few helpers between them.
#ifndef GUEST_H
#define GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "quickjs.h"

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))
#define NATIVE(name) JSValue name(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)

typedef struct {
    const char *name;
    const uint8_t *code;
    size_t length;
} Builtin;

// Made at build time: the library, compiled to bytecode.
extern const Builtin builtins[];
extern const int builtins_count;

extern const JSCFunctionListEntry files_functions[];
extern const int files_functions_count;
extern const JSCFunctionListEntry text_functions[];
extern const int text_functions_count;
extern const JSCFunctionListEntry digest_functions[];
extern const int digest_functions_count;
extern const JSCFunctionListEntry deflate_functions[];
extern const int deflate_functions_count;
extern const JSCFunctionListEntry processes_functions[];
extern const int processes_functions_count;
extern const JSCFunctionListEntry modules_functions[];
extern const int modules_functions_count;

void digest_register(JSRuntime *rt);
void deflate_register(JSRuntime *rt);
void modules_register(JSContext *ctx);

// The bytes of a Uint8Array, or NULL with an exception.
uint8_t *bytes_of(JSContext *ctx, JSValueConst value, size_t *length);
// UTF-8 of a string with lone surrogates replaced, to be freed with JS_FreeCString; NULL with an exception.
char *utf8_of(JSContext *ctx, JSValueConst value, size_t *length);
// An ArrayBuffer that takes over memory from malloc.
JSValue buffer_from(JSContext *ctx, uint8_t *bytes, size_t length);

// What the public interface of the engine does not tell; these live beside it in engine.c.
JSValue engine_class_name(JSContext *ctx, JSValueConst value);
JSValue engine_iterator_entries(JSContext *ctx, JSValueConst value);
JSValue engine_swap_context(JSContext *ctx, JSValueConst value);
JSValue engine_call_site_prototype(JSContext *ctx);
JSValue engine_require_module(JSContext *ctx, const char *url);
void engine_reseed(JSContext *ctx);
// Lets scripts declare again what others have declared, or not any more.
void engine_redeclare(bool may);

#endif
