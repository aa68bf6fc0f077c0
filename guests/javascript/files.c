// Files over the C library. A failure is returned as a negative error number; lib/errors.js names it.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>
#include "guest.h"

#define READ_STEP 65536

static JSValue outcome(JSContext *ctx, int result)
{
    return JS_NewInt32(ctx, result < 0 ? -errno : result);
}

static JSValue failed(JSContext *ctx)
{
    return JS_NewInt32(ctx, -errno);
}

static int int_arg(JSContext *ctx, JSValueConst value)
{
    int32_t number = 0;
    JS_ToInt32(ctx, &number, value);
    return number;
}

static double number_arg(JSContext *ctx, JSValueConst value)
{
    double number = 0;
    JS_ToFloat64(ctx, &number, value);
    return number;
}

// The flags of open are Linux's, since scripts write those numbers too.
static int open_flags(int flags)
{
    static const int map[][2] = {
        {0100, O_CREAT}, {0200, O_EXCL}, {01000, O_TRUNC}, {02000, O_APPEND}, {0200000, O_DIRECTORY}, {0400000, O_NOFOLLOW},
    };
    int result = (flags & 3) == 0 ? O_RDONLY : (flags & 3) == 1 ? O_WRONLY : O_RDWR;
    for (int i = 0; i < COUNT(map); i++)
        if (flags & map[i][0])
            result |= map[i][1];
    return result;
}

static NATIVE(files_open)
{
    const char *path = JS_ToCString(ctx, argv[0]);
    if (!path)
        return JS_EXCEPTION;
    int mode = argc > 2 && JS_IsNumber(argv[2]) ? int_arg(ctx, argv[2]) : 0666;
    int fd = open(path, open_flags(int_arg(ctx, argv[1])) | O_CLOEXEC, mode);
    JS_FreeCString(ctx, path);
    return outcome(ctx, fd);
}

static NATIVE(files_close)
{
    return outcome(ctx, close(int_arg(ctx, argv[0])));
}

// read(fd, bytes, offset, length, position or -1)
static NATIVE(files_read)
{
    size_t size;
    uint8_t *bytes = bytes_of(ctx, argv[1], &size);
    if (!bytes)
        return JS_EXCEPTION;
    double offset = number_arg(ctx, argv[2]), length = number_arg(ctx, argv[3]), position = number_arg(ctx, argv[4]);
    if (offset < 0 || length < 0 || offset + length > (double)size)
        return JS_ThrowRangeError(ctx, "the range to read into lies outside the buffer");
    int fd = int_arg(ctx, argv[0]);
    ssize_t count = position >= 0 ? pread(fd, bytes + (size_t)offset, (size_t)length, (off_t)position)
                                  : read(fd, bytes + (size_t)offset, (size_t)length);
    return outcome(ctx, (int)count);
}

static int write_all(int fd, const uint8_t *bytes, size_t length, double position)
{
    size_t done = 0;
    while (done < length) {
        ssize_t count = position >= 0 ? pwrite(fd, bytes + done, length - done, (off_t)position + (off_t)done)
                                      : write(fd, bytes + done, length - done);
        if (count < 0)
            return -1;
        done += (size_t)count;
    }
    return (int)done;
}

// write(fd, bytes or string, offset, length, position or -1)
static NATIVE(files_write)
{
    int fd = int_arg(ctx, argv[0]);
    if (JS_IsString(argv[1])) {
        size_t size;
        char *text = utf8_of(ctx, argv[1], &size);
        if (!text)
            return JS_EXCEPTION;
        int result = write_all(fd, (uint8_t *)text, size, argc > 4 ? number_arg(ctx, argv[4]) : -1);
        JS_FreeCString(ctx, text);
        return outcome(ctx, result);
    }
    size_t size;
    uint8_t *bytes = bytes_of(ctx, argv[1], &size);
    if (!bytes)
        return JS_EXCEPTION;
    double offset = number_arg(ctx, argv[2]), length = number_arg(ctx, argv[3]), position = number_arg(ctx, argv[4]);
    if (offset < 0 || length < 0 || offset + length > (double)size)
        return JS_ThrowRangeError(ctx, "the range to write lies outside the buffer");
    return outcome(ctx, write_all(fd, bytes + (size_t)offset, (size_t)length, position));
}

// Reads to the end of a descriptor, in one step when the size is known. Returns NULL with errno set.
static uint8_t *read_rest(int fd, size_t *length)
{
    struct stat about;
    size_t room = READ_STEP, size = 0;
    if (fstat(fd, &about) == 0 && S_ISREG(about.st_mode) && about.st_size > 0)
        room = (size_t)about.st_size + 1;
    uint8_t *bytes = malloc(room);
    while (bytes) {
        if (size == room) {
            uint8_t *larger = realloc(bytes, room *= 2);
            if (!larger)
                break;
            bytes = larger;
        }
        ssize_t count = read(fd, bytes + size, room - size);
        if (count < 0) {
            int saved = errno;
            free(bytes);
            errno = saved;
            return NULL;
        }
        if (count == 0) {
            *length = size;
            return bytes;
        }
        size += (size_t)count;
    }
    free(bytes);
    errno = ENOMEM;
    return NULL;
}

// readFile(path or fd, as text): an ArrayBuffer or a string
static NATIVE(files_read_file)
{
    int fd, own = JS_IsString(argv[0]);
    if (own) {
        const char *path = JS_ToCString(ctx, argv[0]);
        if (!path)
            return JS_EXCEPTION;
        fd = open(path, O_RDONLY);
        JS_FreeCString(ctx, path);
        if (fd < 0)
            return failed(ctx);
    } else {
        fd = int_arg(ctx, argv[0]);
    }
    size_t length = 0;
    uint8_t *bytes = read_rest(fd, &length);
    int saved = errno;
    if (own)
        close(fd);
    if (!bytes)
        return JS_NewInt32(ctx, -saved);
    if (!JS_ToBool(ctx, argv[1]))
        return buffer_from(ctx, bytes, length);
    JSValue text = JS_NewStringLen(ctx, (char *)bytes, length);
    free(bytes);
    return text;
}

static JSValue stat_list(JSContext *ctx, const struct stat *about)
{
    double numbers[] = {
        (double)about->st_dev, (double)about->st_ino, (double)about->st_mode, (double)about->st_nlink, (double)about->st_size,
        (double)about->st_atim.tv_sec * 1e3 + (double)about->st_atim.tv_nsec / 1e6,
        (double)about->st_mtim.tv_sec * 1e3 + (double)about->st_mtim.tv_nsec / 1e6,
        (double)about->st_ctim.tv_sec * 1e3 + (double)about->st_ctim.tv_nsec / 1e6,
    };
    JSValue list = JS_NewArray(ctx);
    for (int i = 0; i < COUNT(numbers); i++)
        JS_SetPropertyUint32(ctx, list, (uint32_t)i, JS_NewNumber(ctx, numbers[i]));
    return list;
}

// stat(path or fd, follow links): [dev, ino, mode, nlink, size, atimeMs, mtimeMs, ctimeMs]
static NATIVE(files_stat)
{
    struct stat about;
    int result;
    if (JS_IsString(argv[0])) {
        const char *path = JS_ToCString(ctx, argv[0]);
        if (!path)
            return JS_EXCEPTION;
        result = JS_ToBool(ctx, argv[1]) ? stat(path, &about) : lstat(path, &about);
        JS_FreeCString(ctx, path);
    } else {
        result = fstat(int_arg(ctx, argv[0]), &about);
    }
    return result < 0 ? failed(ctx) : stat_list(ctx, &about);
}

// readdir(path): [name, type, name, type...], the types being those of dirent.h
static NATIVE(files_readdir)
{
    const char *path = JS_ToCString(ctx, argv[0]);
    if (!path)
        return JS_EXCEPTION;
    DIR *directory = opendir(path);
    JS_FreeCString(ctx, path);
    if (!directory)
        return failed(ctx);
    JSValue list = JS_NewArray(ctx);
    uint32_t count = 0;
    struct dirent *entry;
    while ((entry = readdir(directory))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        int type = entry->d_type == DT_DIR ? 2 : entry->d_type == DT_LNK ? 3 : entry->d_type == DT_REG ? 1 : 0;
        JS_SetPropertyUint32(ctx, list, count++, JS_NewString(ctx, entry->d_name));
        JS_SetPropertyUint32(ctx, list, count++, JS_NewInt32(ctx, type));
    }
    closedir(directory);
    return list;
}

enum { ONE_MKDIR, ONE_RMDIR, ONE_UNLINK, TWO_RENAME, TWO_LINK, TWO_SYMLINK };

static JSValue files_named(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv, int what)
{
    const char *path = JS_ToCString(ctx, argv[0]), *other = NULL;
    if (!path)
        return JS_EXCEPTION;
    if (what >= TWO_RENAME && !(other = JS_ToCString(ctx, argv[1]))) {
        JS_FreeCString(ctx, path);
        return JS_EXCEPTION;
    }
    int result = -1;
    switch (what) {
    case ONE_MKDIR: result = mkdir(path, 0777); break;
    case ONE_RMDIR: result = rmdir(path); break;
    case ONE_UNLINK: result = unlink(path); break;
    case TWO_RENAME: result = rename(path, other); break;
    case TWO_LINK: result = link(path, other); break;
    case TWO_SYMLINK: result = symlink(path, other); break;
    }
    JSValue value = outcome(ctx, result);
    JS_FreeCString(ctx, path);
    JS_FreeCString(ctx, other);
    return value;
}

static NATIVE(files_readlink)
{
    char target[4096];
    const char *path = JS_ToCString(ctx, argv[0]);
    if (!path)
        return JS_EXCEPTION;
    ssize_t length = readlink(path, target, sizeof target);
    JS_FreeCString(ctx, path);
    return length < 0 ? failed(ctx) : JS_NewStringLen(ctx, target, (size_t)length);
}

static NATIVE(files_truncate)
{
    return outcome(ctx, ftruncate(int_arg(ctx, argv[0]), (off_t)number_arg(ctx, argv[1])));
}

static NATIVE(files_sync)
{
    return outcome(ctx, fsync(int_arg(ctx, argv[0])));
}

// utimes(path or fd, atime, mtime, follow links), in milliseconds
static NATIVE(files_utimes)
{
    struct timespec times[2];
    for (int i = 0; i < 2; i++) {
        double ms = number_arg(ctx, argv[1 + i]);
        times[i].tv_sec = (time_t)(ms / 1e3);
        times[i].tv_nsec = (long)((ms - (double)times[i].tv_sec * 1e3) * 1e6);
    }
    if (!JS_IsString(argv[0]))
        return outcome(ctx, futimens(int_arg(ctx, argv[0]), times));
    const char *path = JS_ToCString(ctx, argv[0]);
    if (!path)
        return JS_EXCEPTION;
    int result = utimensat(AT_FDCWD, path, times, JS_ToBool(ctx, argv[3]) ? 0 : AT_SYMLINK_NOFOLLOW);
    JS_FreeCString(ctx, path);
    return outcome(ctx, result);
}

// chmod(path or fd, mode)
static NATIVE(files_chmod)
{
    int mode = int_arg(ctx, argv[1]);
    if (!JS_IsString(argv[0]))
        return outcome(ctx, fchmod(int_arg(ctx, argv[0]), (mode_t)mode));
    const char *path = JS_ToCString(ctx, argv[0]);
    if (!path)
        return JS_EXCEPTION;
    int result = chmod(path, (mode_t)mode);
    JS_FreeCString(ctx, path);
    return outcome(ctx, result);
}

// access(path, mode)
static NATIVE(files_access)
{
    const char *path = JS_ToCString(ctx, argv[0]);
    if (!path)
        return JS_EXCEPTION;
    int result = access(path, int_arg(ctx, argv[1]));
    JS_FreeCString(ctx, path);
    return outcome(ctx, result);
}

// realpath(path): without links; a number when there is none
static NATIVE(files_realpath)
{
    const char *path = JS_ToCString(ctx, argv[0]);
    if (!path)
        return JS_EXCEPTION;
    char *found = realpath(path, NULL);
    JS_FreeCString(ctx, path);
    if (!found)
        return failed(ctx);
    JSValue text = JS_NewString(ctx, found);
    free(found);
    return text;
}

const JSCFunctionListEntry files_functions[] = {
    JS_CFUNC_DEF("open", 2, files_open),
    JS_CFUNC_DEF("chmod", 2, files_chmod),
    JS_CFUNC_DEF("access", 2, files_access),
    JS_CFUNC_DEF("realpath", 1, files_realpath),
    JS_CFUNC_DEF("close", 1, files_close),
    JS_CFUNC_DEF("read", 5, files_read),
    JS_CFUNC_DEF("write", 5, files_write),
    JS_CFUNC_DEF("readFile", 2, files_read_file),
    JS_CFUNC_DEF("stat", 2, files_stat),
    JS_CFUNC_DEF("readdir", 1, files_readdir),
    JS_CFUNC_MAGIC_DEF("mkdir", 1, files_named, ONE_MKDIR),
    JS_CFUNC_MAGIC_DEF("rmdir", 1, files_named, ONE_RMDIR),
    JS_CFUNC_MAGIC_DEF("unlink", 1, files_named, ONE_UNLINK),
    JS_CFUNC_MAGIC_DEF("rename", 2, files_named, TWO_RENAME),
    JS_CFUNC_MAGIC_DEF("link", 2, files_named, TWO_LINK),
    JS_CFUNC_MAGIC_DEF("symlink", 2, files_named, TWO_SYMLINK),
    JS_CFUNC_DEF("readlink", 1, files_readlink),
    JS_CFUNC_DEF("ftruncate", 2, files_truncate),
    JS_CFUNC_DEF("fsync", 1, files_sync),
    JS_CFUNC_DEF("utimes", 4, files_utimes),
};
const int files_functions_count = COUNT(files_functions);
