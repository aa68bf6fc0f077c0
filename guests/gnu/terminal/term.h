/* The terminals that programs here know: none. There is none in a sandbox, so nobody misses their descriptions. */
#ifndef _TERM_H
#define _TERM_H
#define OK 0
#define ERR (-1)
typedef struct term TERMINAL;
extern TERMINAL *cur_term;
int del_curterm(TERMINAL *);
int setupterm(const char *, int, int *);
int tigetflag(const char *);
int tigetnum(const char *);
char *tigetstr(const char *);
char *tparm(const char *, ...);
int putp(const char *);
int tputs(const char *, int, int (*)(int));
int tgetent(char *, const char *);
int tgetflag(const char *);
int tgetnum(const char *);
char *tgetstr(const char *, char **);
char *tgoto(const char *, int, int);
#endif
