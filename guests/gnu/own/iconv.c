/* iconv: converts files from one encoding to another, with the encodings of the C library and the options of glibc's. */
#include <errno.h>
#include <getopt.h>
#include <iconv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct option LONG[] = {
	{ "from-code", required_argument, 0, 'f' },
	{ "to-code", required_argument, 0, 't' },
	{ "output", required_argument, 0, 'o' },
	{ "list", no_argument, 0, 'l' },
	{ "silent", no_argument, 0, 's' },
	{ "help", no_argument, 0, 'h' },
	{ 0 },
};

/* What may be asked for; aliases are known besides. */
static const char *const NAMES[] = {
	"UTF-8", "UTF-16", "UTF-16BE", "UTF-16LE", "UTF-32", "UTF-32BE", "UTF-32LE", "UCS-2", "UCS-2BE", "UCS-2LE", "WCHAR_T", "ASCII",
	"ISO-8859-1", "ISO-8859-2", "ISO-8859-3", "ISO-8859-4", "ISO-8859-5", "ISO-8859-6", "ISO-8859-7", "ISO-8859-8", "ISO-8859-9",
	"ISO-8859-10", "ISO-8859-11", "ISO-8859-13", "ISO-8859-14", "ISO-8859-15", "ISO-8859-16", "CP437", "CP850", "CP866", "CP1250",
	"CP1251", "CP1252", "CP1253", "CP1254", "CP1255", "CP1256", "CP1257", "CP1258", "KOI8-R", "KOI8-U", "SHIFT_JIS", "EUC-JP",
	"ISO-2022-JP", "GB2312", "GBK", "GB18030", "BIG5", "EUC-KR",
};

static int skips, replaces, failed;

/*
 * Converts one character after the other: the library writes `*` for what the target does not have and says that it did, and that is
 * an error, a question mark or nothing here.
 */
static int convert(FILE *in, FILE *out, iconv_t conversion)
{
	char from[65536], to[64];
	size_t have = 0, more;
	unsigned long long position = 0;

	do {
		char *next = from;

		more = fread(from + have, 1, sizeof from - have, in);
		have += more;
		while (have) {
			char *start, *end;
			size_t length = 0, left, room, answer;

			do {
				start = next, end = to;
				left = ++length, room = sizeof to;
				answer = iconv(conversion, &start, &left, &end, &room);
			} while (answer == (size_t)-1 && errno == EINVAL && length < have);
			if (answer == (size_t)-1 && errno == EINVAL) {
				if (more)
					break;
				fputs("iconv: incomplete character or shift sequence at end of buffer\n", stderr);
				return 1;
			}
			if (answer == 0) {
				fwrite(to, 1, (size_t)(end - to), out);
			} else if (answer != (size_t)-1 && replaces) {
				putc('?', out);
			} else if (skips) {
				failed = 1;
				if (answer == (size_t)-1)
					length = 1;
			} else {
				fflush(out);
				fprintf(stderr, "iconv: illegal input sequence at position %llu\n", position);
				return 1;
			}
			next += length, have -= length, position += length;
		}
		memmove(from, next, have);
	} while (more);
	return 0;
}

/* The name without `//IGNORE` and `//TRANSLIT`. */
static char *code(const char *given)
{
	char *name = strdup(*given ? given : "UTF-8"), *suffix = strstr(name, "//");

	if (suffix) {
		if (strcasestr(suffix, "IGNORE"))
			skips = 1;
		if (strcasestr(suffix, "TRANSLIT"))
			replaces = 1;
		*suffix = 0;
	}
	return *name ? name : "UTF-8";
}

int main(int count, char **words)
{
	const char *from = "UTF-8", *to = "UTF-8";
	FILE *out = stdout;
	int option, status = 0;

	while ((option = getopt_long(count, words, "f:t:o:lcs", LONG, 0)) != -1) {
		switch (option) {
		case 'f': from = optarg; break;
		case 't': to = optarg; break;
		case 'c': skips = 1; break;
		case 's': break;
		case 'o':
			out = fopen(optarg, "wb");
			if (!out) {
				fprintf(stderr, "iconv: unable to open output file: %s\n", strerror(errno));
				return 1;
			}
			break;
		case 'l':
			for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
				printf("%s//\n", NAMES[i]);
			return 0;
		case 'h': puts("Usage: iconv [-c] [-f ENCODING] [-t ENCODING] [-o FILE] [FILE]..."); return 0;
		default: return 64;
		}
	}
	const char *target = code(to), *mark = "";
	size_t length = 0;
	/* Where no order of bytes is named it is this machine's, and a mark says so. */
	if (!strcasecmp(target, "UTF-16") || !strcasecmp(target, "UTF16"))
		target = "UTF-16LE", mark = "\xff\xfe", length = 2;
	else if (!strcasecmp(target, "UTF-32") || !strcasecmp(target, "UTF32"))
		target = "UTF-32LE", mark = "\xff\xfe\0\0", length = 4;
	else if (!strcasecmp(target, "UCS-2") || !strcasecmp(target, "UCS2"))
		target = "UCS-2LE";
	iconv_t conversion = iconv_open(target, code(from));
	if (conversion == (iconv_t)-1) {
		fprintf(stderr, "iconv: conversion from `%s' to `%s' is not supported\n", from, to);
		return 1;
	}
	fwrite(mark, 1, length, out);
	if (optind == count)
		status = convert(stdin, out, conversion);
	for (; optind < count; optind++) {
		FILE *in = strcmp(words[optind], "-") ? fopen(words[optind], "rb") : stdin;

		if (!in) {
			fprintf(stderr, "iconv: cannot open input file `%s': %s\n", words[optind], strerror(errno));
			status = 1;
			continue;
		}
		status |= convert(in, out, conversion);
		if (in != stdin)
			fclose(in);
	}
	if (fflush(out) || ferror(out)) {
		fputs("iconv: error while writing the output\n", stderr);
		return 1;
	}
	return status | failed;
}
