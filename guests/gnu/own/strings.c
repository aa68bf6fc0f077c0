/* strings: prints the runs of printable characters in files, with the options of GNU's. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct option LONG[] = {
	{ "all", no_argument, 0, 'a' },
	{ "data", no_argument, 0, 'd' },
	{ "print-file-name", no_argument, 0, 'f' },
	{ "bytes", required_argument, 0, 'n' },
	{ "radix", required_argument, 0, 't' },
	{ "include-all-whitespace", no_argument, 0, 'w' },
	{ "encoding", required_argument, 0, 'e' },
	{ "output-separator", required_argument, 0, 's' },
	{ "help", no_argument, 0, 'h' },
	{ 0 },
};

static unsigned long minimum = 4;
static int names, whitespace, radix, eight_bit, width = 1, big_endian;
static const char *separator = "\n";

static void usage(FILE *out, int status)
{
	fputs("Usage: strings [-adfow] [-n NUMBER] [-t o|d|x] [-e s|S|b|l|B|L] [-s SEPARATOR] [FILE]...\n", out);
	exit(status);
}

static int printable(long value)
{
	if (value == '\t' || (value >= 32 && value < 127))
		return 1;
	if (whitespace && value >= '\n' && value <= '\r')
		return 1;
	return eight_bit && value >= 128 && value < 256;
}

static void head(const char *name, unsigned long long at)
{
	if (names)
		printf("%s: ", name);
	if (radix)
		printf(radix == 'o' ? "%7llo " : radix == 'x' ? "%7llx " : "%7llu ", at);
}

/* A character of the encoding at `bytes`. */
static long character(const unsigned char *bytes)
{
	unsigned long value = 0;
	for (int i = 0; i < width; i++)
		value |= (unsigned long)bytes[i] << 8 * (big_endian ? width - 1 - i : i);
	return value > 255 ? -1 : (long)value;
}

/* What is not part of a run moves on by one byte, so that wide characters are found wherever they begin. */
static void search(FILE *file, const char *name)
{
	unsigned char bytes[4];
	char *run = malloc(minimum);
	unsigned long length = 0;
	unsigned long long at = 0;
	int have = 0, next;

	if (!run)
		exit(1);
	for (;;) {
		while (have < width && (next = getc(file)) != EOF)
			bytes[have++] = (unsigned char)next;
		long value = have == width ? character(bytes) : -1;
		if (have == width && printable(value)) {
			if (length < minimum)
				run[length] = (char)value;
			length++;
			if (length == minimum) {
				head(name, at + width - minimum * width);
				fwrite(run, 1, minimum, stdout);
			} else if (length > minimum) {
				putchar((int)value);
			}
			at += width;
			have = 0;
			continue;
		}
		if (length >= minimum)
			fputs(separator, stdout);
		length = 0;
		if (have < width)
			break;
		memmove(bytes, bytes + 1, --have);
		at++;
	}
	free(run);
}

int main(int count, char **words)
{
	int option, status = 0;
	char *end;

	while ((option = getopt_long(count, words, "adfhn:ot:we:s:0123456789", LONG, 0)) != -1) {
		switch (option) {
		case 'a': case 'd': break;
		case 'f': names = 1; break;
		case 'o': radix = 'o'; break;
		case 'w': whitespace = 1; break;
		case 's': separator = optarg; break;
		case 'h': usage(stdout, 0);
		case 'n':
			errno = 0;
			minimum = strtoul(optarg, &end, 0);
			if (errno || *end || !minimum || minimum > 1 << 20) {
				fprintf(stderr, "strings: invalid minimum string length %s\n", optarg);
				return 1;
			}
			break;
		case 't':
			if (optarg[1] || !strchr("odx", *optarg))
				usage(stderr, 1);
			radix = *optarg;
			break;
		case 'e':
			if (optarg[1] || !strchr("sSbBlL", *optarg))
				usage(stderr, 1);
			eight_bit = *optarg == 'S';
			width = strchr("bl", *optarg) ? 2 : strchr("BL", *optarg) ? 4 : 1;
			big_endian = *optarg == 'b' || *optarg == 'B';
			break;
		case '?': usage(stderr, 1);
		default: {
			static int given;
			minimum = (given ? minimum * 10 : 0) + (unsigned long)(option - '0');
			given = 1;
			if (!minimum || minimum > 1 << 20)
				usage(stderr, 1);
		}
		}
	}
	if (optind == count)
		search(stdin, "{standard input}");
	for (; optind < count; optind++) {
		FILE *file = fopen(words[optind], "rb");
		if (!file) {
			fprintf(stderr, "strings: '%s': %s\n", words[optind], errno == ENOENT ? "No such file" : strerror(errno));
			status = 1;
			continue;
		}
		search(file, words[optind]);
		fclose(file);
	}
	return fflush(stdout) || ferror(stdout) ? 1 : status;
}
