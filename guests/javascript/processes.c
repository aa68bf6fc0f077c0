// Other programs: starting them, waiting for them and for what they write. A failure is a negative error number.
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "guest.h"

#define FDS_MAX 64

static int number_at(JSContext *ctx, JSValueConst list, uint32_t index)
{
    int32_t number = 0;
    JSValue value = JS_GetPropertyUint32(ctx, list, index);
    JS_ToInt32(ctx, &number, value);
    JS_FreeValue(ctx, value);
    return number;
}

static int64_t length_of(JSContext *ctx, JSValueConst list)
{
    int64_t length = 0;
    JS_GetLength(ctx, list, &length);
    return length;
}

static void free_words(char **words)
{
    for (char **word = words; word && *word; word++)
        free(*word);
    free(words);
}

static char **words_of(JSContext *ctx, JSValueConst list)
{
    int64_t count = length_of(ctx, list);
    char **words = calloc((size_t)count + 1, sizeof *words);
    for (int64_t i = 0; words && i < count; i++) {
        JSValue value = JS_GetPropertyInt64(ctx, list, i);
        const char *text = JS_ToCString(ctx, value);
        words[i] = strdup(text ? text : "");
        JS_FreeCString(ctx, text);
        JS_FreeValue(ctx, value);
    }
    return words;
}

// spawn(file, args, variables, directory or undefined, [our descriptor or -1 for each of the child's]): its number
static NATIVE(processes_spawn)
{
    const char *file = JS_ToCString(ctx, argv[0]);
    char **args = words_of(ctx, argv[1]), **variables = words_of(ctx, argv[2]);
    const char *directory = JS_IsString(argv[3]) ? JS_ToCString(ctx, argv[3]) : NULL;
    int64_t count = length_of(ctx, argv[4]);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    // First out of the way of one another, then to where the child wants them.
    for (int64_t i = 0; i < count && i < FDS_MAX; i++) {
        int fd = number_at(ctx, argv[4], (uint32_t)i);
        if (fd >= 0)
            posix_spawn_file_actions_adddup2(&actions, fd, 200 + (int)i);
    }
    for (int64_t i = 0; i < count && i < FDS_MAX; i++) {
        if (number_at(ctx, argv[4], (uint32_t)i) < 0) {
            posix_spawn_file_actions_addclose(&actions, (int)i);
            continue;
        }
        posix_spawn_file_actions_adddup2(&actions, 200 + (int)i, (int)i);
        posix_spawn_file_actions_addclose(&actions, 200 + (int)i);
    }
    if (directory)
        posix_spawn_file_actions_addchdir_np(&actions, directory);
    pid_t pid = 0;
    int failed = args && variables && file ? posix_spawnp(&pid, file, &actions, NULL, args, variables) : ENOMEM;
    posix_spawn_file_actions_destroy(&actions);
    JS_FreeCString(ctx, file);
    JS_FreeCString(ctx, directory);
    free_words(args);
    free_words(variables);
    return JS_NewInt32(ctx, failed ? -failed : pid);
}

// waitpid(process, wait): [process, exit status or -1, signal or 0]; [0] when it runs on
static NATIVE(processes_wait)
{
    int32_t pid = 0;
    int status = 0;
    JS_ToInt32(ctx, &pid, argv[0]);
    pid_t found = waitpid(pid, &status, JS_ToBool(ctx, argv[1]) ? 0 : WNOHANG);
    if (found < 0)
        return JS_NewInt32(ctx, -errno);
    JSValue list = JS_NewArray(ctx);
    JS_SetPropertyUint32(ctx, list, 0, JS_NewInt32(ctx, found));
    JS_SetPropertyUint32(ctx, list, 1, JS_NewInt32(ctx, WIFEXITED(status) ? WEXITSTATUS(status) : -1));
    JS_SetPropertyUint32(ctx, list, 2, JS_NewInt32(ctx, WIFSIGNALED(status) ? WTERMSIG(status) : 0));
    return list;
}

static NATIVE(processes_pipe)
{
    int ends[2];
    if (pipe2(ends, 02000000) < 0)
        return JS_NewInt32(ctx, -errno);
    JSValue list = JS_NewArray(ctx);
    JS_SetPropertyUint32(ctx, list, 0, JS_NewInt32(ctx, ends[0]));
    JS_SetPropertyUint32(ctx, list, 1, JS_NewInt32(ctx, ends[1]));
    return list;
}

// poll([descriptor, events, ...], milliseconds or -1): what is ready, one number each
static NATIVE(processes_poll)
{
    struct pollfd fds[FDS_MAX];
    int32_t wait = -1;
    JS_ToInt32(ctx, &wait, argv[1]);
    int64_t count = length_of(ctx, argv[0]) / 2;
    if (count > FDS_MAX)
        count = FDS_MAX;
    for (int64_t i = 0; i < count; i++) {
        fds[i].fd = number_at(ctx, argv[0], (uint32_t)(2 * i));
        fds[i].events = (short)number_at(ctx, argv[0], (uint32_t)(2 * i + 1));
        fds[i].revents = 0;
    }
    poll(fds, (nfds_t)count, wait);
    JSValue list = JS_NewArray(ctx);
    for (int64_t i = 0; i < count; i++)
        JS_SetPropertyInt64(ctx, list, i, JS_NewInt32(ctx, fds[i].revents));
    return list;
}

static NATIVE(processes_kill)
{
    int32_t pid = 0, number = 0;
    JS_ToInt32(ctx, &pid, argv[0]);
    JS_ToInt32(ctx, &number, argv[1]);
    return JS_NewInt32(ctx, kill(pid, number) < 0 ? -errno : 0);
}

static NATIVE(processes_ids)
{
    JSValue list = JS_NewArray(ctx);
    JS_SetPropertyUint32(ctx, list, 0, JS_NewInt32(ctx, getpid()));
    JS_SetPropertyUint32(ctx, list, 1, JS_NewInt32(ctx, getppid()));
    return list;
}

// Whether a descriptor is a terminal.
static NATIVE(processes_isatty)
{
    int32_t fd = 0;
    JS_ToInt32(ctx, &fd, argv[0]);
    return JS_NewBool(ctx, isatty(fd));
}

static NATIVE(processes_chdir)
{
    const char *path = JS_ToCString(ctx, argv[0]);
    int result = path ? chdir(path) : -1;
    JS_FreeCString(ctx, path);
    return JS_NewInt32(ctx, result < 0 ? -errno : 0);
}

static NATIVE(processes_cwd)
{
    char path[4096];
    return getcwd(path, sizeof path) ? JS_NewString(ctx, path) : JS_NewInt32(ctx, -errno);
}

const JSCFunctionListEntry processes_functions[] = {
    JS_CFUNC_DEF("spawn", 5, processes_spawn),
    JS_CFUNC_DEF("waitpid", 2, processes_wait),
    JS_CFUNC_DEF("pipe", 0, processes_pipe),
    JS_CFUNC_DEF("poll", 2, processes_poll),
    JS_CFUNC_DEF("kill", 2, processes_kill),
    JS_CFUNC_DEF("ids", 0, processes_ids),
    JS_CFUNC_DEF("isatty", 1, processes_isatty),
    JS_CFUNC_DEF("chdir", 1, processes_chdir),
    JS_CFUNC_DEF("cwd", 0, processes_cwd),
};
const int processes_functions_count = COUNT(processes_functions);
