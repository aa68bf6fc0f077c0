// ES modules: the engine asks here, and lib/esm.js answers which file a name means and what is in it.
#include <string.h>
#include "guest.h"

static JSValue hooks;

// Calls a hook by name. Frees nothing of the arguments.
static JSValue hook(JSContext *ctx, const char *name, int argc, JSValueConst *argv)
{
    JSValue function = JS_GetPropertyStr(ctx, hooks, name);
    JSValue result = JS_Call(ctx, function, JS_UNDEFINED, argc, argv);
    JS_FreeValue(ctx, function);
    return result;
}

static char *resolve(JSContext *ctx, const char *base, const char *name, void *opaque)
{
    JSValue args[] = {JS_NewString(ctx, name), JS_NewString(ctx, base)};
    JSValue found = hook(ctx, "resolve", 2, (JSValueConst *)args);
    JS_FreeValue(ctx, args[0]);
    JS_FreeValue(ctx, args[1]);
    if (JS_IsException(found))
        return NULL;
    const char *text = JS_ToCString(ctx, found);
    char *url = text ? js_strdup(ctx, text) : NULL;
    JS_FreeCString(ctx, text);
    JS_FreeValue(ctx, found);
    return url;
}

// A module that is no ES module gets its exports when its turn to be evaluated comes.
static int evaluate(JSContext *ctx, JSModuleDef *module)
{
    JSAtom atom = JS_GetModuleName(ctx, module);
    JSValue url = JS_AtomToString(ctx, atom);
    JS_FreeAtom(ctx, atom);
    JSValue pairs = hook(ctx, "evaluate", 1, (JSValueConst *)&url);
    JS_FreeValue(ctx, url);
    if (JS_IsException(pairs))
        return -1;
    int64_t count = 0;
    JS_GetLength(ctx, pairs, &count);
    for (int64_t i = 0; i + 1 < count; i += 2) {
        JSValue key = JS_GetPropertyInt64(ctx, pairs, i);
        const char *name = JS_ToCString(ctx, key);
        if (name)
            JS_SetModuleExport(ctx, module, name, JS_GetPropertyInt64(ctx, pairs, i + 1));
        JS_FreeCString(ctx, name);
        JS_FreeValue(ctx, key);
    }
    JS_FreeValue(ctx, pairs);
    return 0;
}

static JSModuleDef *synthetic(JSContext *ctx, const char *url, JSValueConst names)
{
    JSModuleDef *module = JS_NewCModule(ctx, url, evaluate);
    int64_t count = 0;
    JS_GetLength(ctx, names, &count);
    for (int64_t i = 0; module && i < count; i++) {
        JSValue key = JS_GetPropertyInt64(ctx, names, i);
        const char *name = JS_ToCString(ctx, key);
        if (name)
            JS_AddModuleExport(ctx, module, name);
        JS_FreeCString(ctx, name);
        JS_FreeValue(ctx, key);
    }
    return module;
}

static JSModuleDef *compile(JSContext *ctx, JSValueConst source, const char *url)
{
    size_t length;
    const char *text = JS_ToCStringLen(ctx, &length, source);
    if (!text)
        return NULL;
    JSValue compiled = JS_Eval(ctx, text, length, url, JS_EVAL_TYPE_MODULE | JS_EVAL_FLAG_COMPILE_ONLY);
    JS_FreeCString(ctx, text);
    if (JS_IsException(compiled))
        return NULL;
    JSModuleDef *module = JS_VALUE_GET_PTR(compiled);
    JS_FreeValue(ctx, compiled);
    JSValue args[] = {JS_GetImportMeta(ctx, module), JS_NewString(ctx, url)};
    JSValue done = hook(ctx, "meta", 2, (JSValueConst *)args);
    JS_FreeValue(ctx, args[0]);
    JS_FreeValue(ctx, args[1]);
    JS_FreeValue(ctx, done);
    return JS_IsException(done) ? NULL : module;
}

// The hook gives the source of an ES module, or the list of names that any other module exports.
static JSModuleDef *load(JSContext *ctx, const char *url, void *opaque, JSValueConst attributes)
{
    JSValue args[] = {JS_NewString(ctx, url), JS_DupValue(ctx, attributes)};
    JSValue found = hook(ctx, "load", 2, (JSValueConst *)args);
    JS_FreeValue(ctx, args[0]);
    JS_FreeValue(ctx, args[1]);
    if (JS_IsException(found))
        return NULL;
    JSModuleDef *module = JS_IsArray(found) ? synthetic(ctx, url, found) : compile(ctx, found, url);
    JS_FreeValue(ctx, found);
    return module;
}

static int check_attributes(JSContext *ctx, void *opaque, JSValueConst attributes)
{
    return 0;
}

static void rejection(JSContext *ctx, JSValueConst promise, JSValueConst reason, bool handled, void *opaque)
{
    JSValueConst args[] = {promise, reason, JS_NewBool(ctx, handled)};
    if (JS_IsObject(hooks))
        JS_FreeValue(ctx, hook(ctx, "rejection", 3, args));
}

void modules_register(JSContext *ctx)
{
    JSRuntime *rt = JS_GetRuntime(ctx);
    JS_SetModuleLoaderFunc2(rt, resolve, load, check_attributes, NULL);
    JS_SetHostPromiseRejectionTracker(rt, rejection, NULL);
}

static NATIVE(modules_set_hooks)
{
    hooks = JS_DupValue(ctx, argv[0]);
    return JS_UNDEFINED;
}

// compileModule(source, url): throws what is wrong with it
static NATIVE(modules_compile)
{
    const char *url = JS_ToCString(ctx, argv[1]);
    JSModuleDef *module = url ? compile(ctx, argv[0], url) : NULL;
    JS_FreeCString(ctx, url);
    return module ? JS_UNDEFINED : JS_EXCEPTION;
}

// importModule(name, url of who asks): a promise of the namespace
static NATIVE(modules_import)
{
    const char *name = JS_ToCString(ctx, argv[0]), *base = JS_ToCString(ctx, argv[1]);
    JSValue promise = name && base ? JS_LoadModule(ctx, base, name) : JS_EXCEPTION;
    JS_FreeCString(ctx, name);
    JS_FreeCString(ctx, base);
    return promise;
}

// requireModule(url): the namespace of an ES module that has run, undefined when it waits, null when it is being run already
static NATIVE(modules_require)
{
    const char *url = JS_ToCString(ctx, argv[0]);
    JSValue names = url ? engine_require_module(ctx, url) : JS_EXCEPTION;
    JS_FreeCString(ctx, url);
    return names;
}

// How a script is evaluated.
enum { COMPILE_ONLY = 1, WITH_AWAIT = 2, REDECLARES = 4 };

// evaluate(source, file, line of its start, how): the value of a script; with await, a promise of an object that has it
static NATIVE(modules_evaluate)
{
    size_t length;
    int32_t line = 1, how = 0;
    const char *text = JS_ToCStringLen(ctx, &length, argv[0]), *file = JS_ToCString(ctx, argv[1]);
    JS_ToInt32(ctx, &line, argv[2]);
    JSEvalOptions options = {
        .version = JS_EVAL_OPTIONS_VERSION,
        .eval_flags = JS_EVAL_TYPE_GLOBAL,
        .filename = file,
        .line_num = line,
    };
    if (argc > 3)
        JS_ToInt32(ctx, &how, argv[3]);
    if (how & COMPILE_ONLY)
        options.eval_flags |= JS_EVAL_FLAG_COMPILE_ONLY;
    if (how & WITH_AWAIT)
        options.eval_flags |= JS_EVAL_FLAG_ASYNC;
    engine_redeclare(how & REDECLARES);
    JSValue value = text && file ? JS_Eval2(ctx, text, length, &options) : JS_EXCEPTION;
    engine_redeclare(false);
    JS_FreeCString(ctx, text);
    JS_FreeCString(ctx, file);
    if (options.eval_flags & JS_EVAL_FLAG_COMPILE_ONLY && !JS_IsException(value)) {
        JS_FreeValue(ctx, value);
        return JS_UNDEFINED;
    }
    return value;
}

const JSCFunctionListEntry modules_functions[] = {
    JS_CFUNC_DEF("setHooks", 1, modules_set_hooks),
    JS_CFUNC_DEF("compileModule", 2, modules_compile),
    JS_CFUNC_DEF("importModule", 2, modules_import),
    JS_CFUNC_DEF("requireModule", 1, modules_require),
    JS_CFUNC_DEF("evaluate", 4, modules_evaluate),
};
const int modules_functions_count = COUNT(modules_functions);
