#include "term.h"

#include <stdio.h>

char PC, *UP, *BC;
short ospeed;
TERMINAL *cur_term;

int del_curterm(TERMINAL *terminal) { return (void)terminal, OK; }

int setupterm(const char *name, int fd, int *error)
{
	(void)name, (void)fd;
	if (error)
		*error = 0;
	return ERR;
}

int tigetflag(const char *name) { return (void)name, 0; }
int tigetnum(const char *name) { return (void)name, -1; }
char *tigetstr(const char *name) { return (void)name, (char *)0; }
char *tparm(const char *text, ...) { return (char *)text; }
int putp(const char *text) { return text && fputs(text, stdout) >= 0 ? OK : ERR; }

int tputs(const char *text, int lines, int (*put)(int))
{
	(void)lines;
	while (text && *text)
		put((unsigned char)*text++);
	return OK;
}

int tgetent(char *entry, const char *name) { return (void)entry, (void)name, 0; }
int tgetflag(const char *name) { return (void)name, 0; }
int tgetnum(const char *name) { return (void)name, -1; }
char *tgetstr(const char *name, char **area) { return (void)name, (void)area, (char *)0; }
char *tgoto(const char *text, int column, int line) { return (void)column, (void)line, (char *)text; }
