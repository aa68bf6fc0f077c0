// Runs at build time on the building machine: turns the files of lib/ into bytecode, as tables of C.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "quickjs.h"

// The first part of the library gets `host` alone; every other is a CommonJS module that gets it too. Node's own files, given as
// NAME=PATH, get what node gives them.
static const char boot_head[] = "(function (host) {";
static const char module_head[] = "(function (exports, require, module, host, primordials) {";
static const char node_head[] = "(function (exports, require, module, process, internalBinding, primordials) {";
static const char primordials_head[] = "(function (exports, primordials, privateSymbols, perIsolateSymbols) {";
static const char tail[] = "\n})";

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    fseek(file, 0, SEEK_END);
    long length = ftell(file);
    rewind(file);
    char *text = calloc(1, (size_t)length + 1);
    if (fread(text, 1, (size_t)length, file) != (size_t)length)
        return NULL;
    fclose(file);
    return text;
}

int main(int argc, char **argv)
{
    JSRuntime *rt = JS_NewRuntime();
    JSContext *ctx = JS_NewContext(rt);
    printf("// Made by compile.c from lib/.\n#include \"guest.h\"\n");
    for (int i = 1; i < argc; i++) {
        char *equals = strchr(argv[i], '='), found[256];
        // @NAME is node's file of that name, unpacked here.
        if (*argv[i] == '@') {
            snprintf(found, sizeof found, "%s=node/lib/%s.js", argv[i] + 1, argv[i] + 1);
            equals = strchr(argv[i] = strdup(found), '=');
        }
        char *path = equals ? equals + 1 : argv[i];
        const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
        char name[96], file[128];
        if (equals)
            snprintf(name, sizeof name, "%.*s", (int)(equals - argv[i]), argv[i]);
        else
            snprintf(name, sizeof name, "%.*s", (int)(strrchr(base, '.') - base), base);
        snprintf(file, sizeof file, equals ? "node:%s" : "node:internal/sandglass/%s", name);
        char *text = read_file(path);
        if (!text)
            return fprintf(stderr, "%s cannot be read\n", path), 1;
        const char *head = !strcmp(name, "boot") ? boot_head : !equals ? module_head
            : strcmp(base, "primordials.js") ? node_head : primordials_head;
        char *whole = malloc(strlen(text) + strlen(head) + sizeof tail);
        sprintf(whole, "%s%s%s", head, text, tail);
        JSValue code = JS_Eval(ctx, whole, strlen(whole), file, JS_EVAL_TYPE_GLOBAL | JS_EVAL_FLAG_STRICT | JS_EVAL_FLAG_COMPILE_ONLY);
        if (JS_IsException(code)) {
            JSValue error = JS_GetException(ctx), stack = JS_GetPropertyStr(ctx, error, "stack");
            return fprintf(stderr, "%s: %s\n%s\n", argv[i], JS_ToCString(ctx, error), JS_ToCString(ctx, stack)), 1;
        }
        size_t length;
        uint8_t *bytes = JS_WriteObject(ctx, &length, code, JS_WRITE_OBJ_BYTECODE | JS_WRITE_OBJ_STRIP_SOURCE);
        printf("static const uint8_t code%d[] = {", i);
        for (size_t k = 0; k < length; k++)
            printf("%s%d,", k % 32 ? "" : "\n", bytes[k]);
        printf("\n};\n");
        char *saved = malloc(160);
        snprintf(saved, 160, "    {\"%s\", code%d, sizeof code%d},\n", name, i, i);
        argv[i] = saved;
    }
    printf("const Builtin builtins[] = {\n");
    for (int i = 1; i < argc; i++)
        fputs(argv[i], stdout);
    printf("};\nconst int builtins_count = %d;\n", argc - 1);
    return 0;
}
