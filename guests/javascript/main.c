// The program: makes the engine, gives the library its native functions as `host`, and rests: every program begins there, with what
// it is given. In a session it rests again, and goes on from turn to turn.
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sandglass.h>
#include "guest.h"

// What the engine may use of the C stack, in bytes; the linker gives it a little more. See build.
#ifndef STACK_BYTES
#define STACK_BYTES (2 << 20)
#endif

#ifdef __wasm__
#define MEMORY_BYTES (__builtin_wasm_memory_size(0) * 65536)
#else
#define MEMORY_BYTES (64 << 20)
#endif

// Memory after which the first collection of cycles runs, in bytes.
#define COLLECT_BYTES (8 << 20)

extern char **environ;
static JSContext *context;
static JSValue arguments;
// What lib/boot.js gave.
static JSValue library;

static NATIVE(host_now)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return JS_NewFloat64(ctx, (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6);
}

static NATIVE(host_monotonic)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return JS_NewBigInt64(ctx, (int64_t)time.tv_sec * 1000000000 + time.tv_nsec);
}

static NATIVE(host_sleep)
{
    double ms = 0;
    JS_ToFloat64(ctx, &ms, argv[0]);
    struct timespec time = {(time_t)(ms / 1e3), 0};
    time.tv_nsec = (long)((ms - (double)time.tv_sec * 1e3) * 1e6);
    nanosleep(&time, NULL);
    return JS_UNDEFINED;
}

static NATIVE(host_exit)
{
    int32_t status = 0;
    JS_ToInt32(ctx, &status, argv[0]);
    exit(status & 255);
}

static NATIVE(host_args)
{
    return JS_DupValue(ctx, arguments);
}

static NATIVE(host_environ)
{
    JSValue list = JS_NewArray(ctx);
    for (uint32_t i = 0; environ && environ[i]; i++)
        JS_SetPropertyUint32(ctx, list, i, JS_NewString(ctx, environ[i]));
    return list;
}

static NATIVE(host_random)
{
    size_t length;
    uint8_t *bytes = bytes_of(ctx, argv[0], &length);
    if (!bytes)
        return JS_EXCEPTION;
    for (size_t i = 0; i < length; i += 256)
        getentropy(bytes + i, length - i < 256 ? length - i : 256);
    return JS_UNDEFINED;
}

// builtin(name): the function that makes a part of the library, or undefined
static NATIVE(host_builtin)
{
    const char *name = JS_ToCString(ctx, argv[0]);
    JSValue made = JS_UNDEFINED;
    for (int i = 0; name && i < builtins_count; i++) {
        if (!strcmp(name, builtins[i].name)) {
            made = JS_ReadObject(ctx, builtins[i].code, builtins[i].length, JS_READ_OBJ_BYTECODE);
            if (!JS_IsException(made))
                made = JS_EvalFunction(ctx, made);
            break;
        }
    }
    JS_FreeCString(ctx, name);
    return made;
}

// runJobs(): runs promise callbacks until none is left; throws what one of them throws
static NATIVE(host_run_jobs)
{
    JSContext *of;
    for (;;) {
        int result = JS_ExecutePendingJob(JS_GetRuntime(ctx), &of);
        if (result == 0)
            return JS_UNDEFINED;
        if (result < 0)
            return JS_EXCEPTION;
    }
}

// promiseState(promise): [0 pending, 1 fulfilled or 2 rejected, result]
static NATIVE(host_promise_state)
{
    JSPromiseStateEnum state = JS_PromiseState(ctx, argv[0]);
    JSValue list = JS_NewArray(ctx);
    JS_SetPropertyUint32(ctx, list, 0, JS_NewInt32(ctx, state == JS_PROMISE_PENDING ? 0 : state == JS_PROMISE_FULFILLED ? 1 : 2));
    JS_SetPropertyUint32(ctx, list, 1, JS_PromiseResult(ctx, argv[0]));
    return list;
}

static NATIVE(host_proxy_parts)
{
    if (!JS_IsProxy(argv[0]))
        return JS_UNDEFINED;
    JSValue list = JS_NewArray(ctx);
    JS_SetPropertyUint32(ctx, list, 0, JS_GetProxyTarget(ctx, argv[0]));
    JS_SetPropertyUint32(ctx, list, 1, JS_GetProxyHandler(ctx, argv[0]));
    return list;
}

static NATIVE(host_class_name)
{
    return engine_class_name(ctx, argv[0]);
}

static NATIVE(host_iterator_entries)
{
    return engine_iterator_entries(ctx, argv[0]);
}

// swapContext(value): the context until now; value is the one from now on
static NATIVE(host_swap_context)
{
    return engine_swap_context(ctx, argv[0]);
}

static NATIVE(host_call_site_prototype)
{
    return engine_call_site_prototype(ctx);
}

// reseed(): what Math.random gives from now on is nobody else's
static NATIVE(host_reseed)
{
    engine_reseed(ctx);
    return JS_UNDEFINED;
}

static NATIVE(host_detach)
{
    JS_DetachArrayBuffer(ctx, argv[0]);
    return JS_UNDEFINED;
}

static NATIVE(host_collect)
{
    JS_RunGC(JS_GetRuntime(ctx));
    return JS_UNDEFINED;
}

// memory(): [bytes of linear memory, bytes in use by the engine]
static NATIVE(host_memory)
{
    JSMemoryUsage usage;
    JS_ComputeMemoryUsage(JS_GetRuntime(ctx), &usage);
    JSValue list = JS_NewArray(ctx);
    JS_SetPropertyUint32(ctx, list, 0, JS_NewInt64(ctx, (int64_t)MEMORY_BYTES));
    JS_SetPropertyUint32(ctx, list, 1, JS_NewInt64(ctx, usage.malloc_size));
    return list;
}

static NATIVE(host_engine_version)
{
    return JS_NewString(ctx, JS_GetVersion());
}

static const JSCFunctionListEntry host_functions[] = {
    JS_CFUNC_DEF("now", 0, host_now),
    JS_CFUNC_DEF("monotonic", 0, host_monotonic),
    JS_CFUNC_DEF("sleep", 1, host_sleep),
    JS_CFUNC_DEF("exit", 1, host_exit),
    JS_CFUNC_DEF("args", 0, host_args),
    JS_CFUNC_DEF("environ", 0, host_environ),
    JS_CFUNC_DEF("random", 1, host_random),
    JS_CFUNC_DEF("builtin", 1, host_builtin),
    JS_CFUNC_DEF("runJobs", 0, host_run_jobs),
    JS_CFUNC_DEF("promiseState", 1, host_promise_state),
    JS_CFUNC_DEF("proxyParts", 1, host_proxy_parts),
    JS_CFUNC_DEF("className", 1, host_class_name),
    JS_CFUNC_DEF("iteratorEntries", 1, host_iterator_entries),
    JS_CFUNC_DEF("swapContext", 1, host_swap_context),
    JS_CFUNC_DEF("callSitePrototype", 0, host_call_site_prototype),
    JS_CFUNC_DEF("reseed", 0, host_reseed),
    JS_CFUNC_DEF("detach", 1, host_detach),
    JS_CFUNC_DEF("collect", 0, host_collect),
    JS_CFUNC_DEF("memory", 0, host_memory),
    JS_CFUNC_DEF("engineVersion", 0, host_engine_version),
};

// The library could not even start: says why as plainly as it can.
static int broken(JSContext *ctx)
{
    JSValue error = JS_GetException(ctx);
    const char *text = JS_ToCString(ctx, error);
    JSValue stack = JS_GetPropertyStr(ctx, error, "stack");
    const char *trace = JS_ToCString(ctx, stack);
    fprintf(stderr, "javascript: %s\n%s\n", text ? text : "unknown fault", trace ? trace : "");
    return 70;
}

// Calls a function of the library.
static JSValue ask(const char *name)
{
    JSValue function = JS_GetPropertyStr(context, library, name);
    JSValue result = JS_Call(context, function, library, 0, NULL);
    JS_FreeValue(context, function);
    if (JS_IsException(result))
        exit(broken(context));
    return result;
}

// Takes what the process is given now.
static char **given(char ***environment)
{
    int count = 0;
    char **words = __given(&count, environment);
    if (!words)
        exit(70);
    JS_UpdateStackTop(JS_GetRuntime(context));
    JS_FreeValue(context, arguments);
    arguments = JS_NewArray(context);
    for (int i = 0; i < count; i++)
        JS_SetPropertyUint32(context, arguments, (uint32_t)i, JS_NewString(context, words[i]));
    return words;
}

static void turn(void *unused)
{
    char **variables, **words = given(&variables);
    // What is new in this call; the last use of the list is before it is freed.
    for (char **variable = variables; *variable; variable++) {
        char *own = strdup(*variable);
        if (own)
            putenv(own);
    }
    JSValue names = JS_NewArray(context);
    for (uint32_t i = 0; variables[i]; i++)
        JS_SetPropertyUint32(context, names, i, JS_NewString(context, variables[i]));
    free(words);
    JS_SetPropertyStr(context, library, "variables", names);
    JSValue told = ask("turn");
    int32_t status = 0;
    JSValue code = JS_GetPropertyUint32(context, told, 0), text = JS_GetPropertyUint32(context, told, 1);
    JS_ToInt32(context, &status, code);
    size_t length = 0;
    char *result = JS_IsUndefined(text) ? NULL : utf8_of(context, text, &length);
    JS_FreeValue(context, text);
    JS_FreeValue(context, told);
    // The text stays where it is until the next turn is over.
    static char *last;
    if (last)
        JS_FreeCString(context, last);
    last = result;
    __rest(turn, NULL, status & 255, result, length);
    exit(70);
}

static void program(void *unused)
{
    given(&environ);
    engine_reseed(context);
    JS_FreeValue(context, ask("begin"));
    // Comes back where there is no session.
    __rest(turn, NULL, 0, NULL, 0);
    JSValue status = ask("main");
    // The process ends here: taking the heap apart would only cost time.
    int32_t code = 0;
    JS_ToInt32(context, &code, status);
    exit(code & 255);
}

int main(int argc, char **argv)
{
    JSRuntime *rt = JS_NewRuntime();
    JS_SetMaxStackSize(rt, STACK_BYTES);
    JS_SetGCThreshold(rt, COLLECT_BYTES);
    digest_register(rt);
    deflate_register(rt);
    JSContext *ctx = context = JS_NewContext(rt);
    modules_register(ctx);

    JSValue host = JS_NewObject(ctx);
    JS_SetPropertyFunctionList(ctx, host, host_functions, COUNT(host_functions));
    JS_SetPropertyFunctionList(ctx, host, files_functions, files_functions_count);
    JS_SetPropertyFunctionList(ctx, host, text_functions, text_functions_count);
    JS_SetPropertyFunctionList(ctx, host, digest_functions, digest_functions_count);
    JS_SetPropertyFunctionList(ctx, host, deflate_functions, deflate_functions_count);
    JS_SetPropertyFunctionList(ctx, host, modules_functions, modules_functions_count);
    JS_SetPropertyFunctionList(ctx, host, processes_functions, processes_functions_count);

    arguments = JS_UNDEFINED;
    JSValue names = JS_NewArray(ctx);
    for (int i = 0; i < builtins_count; i++)
        JS_SetPropertyUint32(ctx, names, (uint32_t)i, JS_NewString(ctx, builtins[i].name));
    JS_SetPropertyStr(ctx, host, "builtins", names);

    JSValue name = JS_NewString(ctx, "boot");
    JSValue boot = host_builtin(ctx, JS_UNDEFINED, 1, (JSValueConst *)&name);
    if (JS_IsException(boot))
        return broken(ctx);
    library = JS_Call(ctx, boot, JS_UNDEFINED, 1, (JSValueConst *)&host);
    if (JS_IsException(library))
        return broken(ctx);
    // Comes back where no image is made.
    __rest(program, NULL, 0, NULL, 0);
    program(NULL);
}
