/* dup, dup2, dup3, F_DUPFD: one endpoint under several numbers; a live endpoint overwritten by another. */
#include "case.h"

static char in[100];

void alice(void)
{
	int a = pair_up(), b = pair_up();
	say("descriptors %d and %d", a, b);
	int c = TRY(dup(a));
	TRY(send(c, "by the dup", 10, 0));
	TRY(close(a));
	TRY(recv(a, in, 1, 0));
	say_bytes("in", in, TRY(recv(c, in, 6, MSG_WAITALL)));
	/* The number is free again, and taken by the next. */
	int d = TRY(fcntl(c, F_DUPFD, 0));
	int e = TRY(fcntl(c, F_DUPFD_CLOEXEC, 50));
	TRY(fcntl(e, F_GETFD));
	int f = TRY(dup3(c, 60, O_CLOEXEC));
	TRY(fcntl(f, F_GETFD));
	TRY(dup3(c, c, 0));
	TRY(dup2(c, c));
	TRY(dup2(99, 61));
	TRY(dup2(c, -1));
	TRY(fcntl(c, F_DUPFD, 1 << 30));
	TRY(send(d, "d", 1, 0));
	TRY(send(e, "e", 1, 0));
	TRY(write(f, "f", 1));
	TRY(close(c));
	TRY(close(d));
	TRY(close(e));
	/* The peer of b sees its end when f is put over it. */
	TRY(dup2(f, b));
	meet();
	TRY(send(b, "b", 1, 0));
	TRY(close(f));
	say_bytes("in", in, TRY(recv(b, in, 6, MSG_WAITALL)));
	/* A pipe over the last one: the end. */
	int pipes[2];
	MUST(pipe(pipes));
	TRY(dup2(pipes[0], b));
	TRY(write(pipes[1], "pipe", 4));
	say_bytes("pipe", in, TRY(read(b, in, 100)));
	TRY(recv(b, in, 1, 0));
	meet();
	/* And a socket over a pipe. */
	int g = pair_up();
	TRY(dup2(g, pipes[0]));
	TRY(close(g));
	TRY(write(pipes[0], "socket", 6));
	say_bytes("in", in, TRY(read(pipes[0], in, 6)));
	TRY(close(pipes[0]));
}

void bob(void)
{
	int a = pair_up(), b = pair_up();
	say_bytes("in", in, TRY(recv(a, in, 10, MSG_WAITALL)));
	TRY(send(a, "answer", 6, 0));
	say_bytes("in", in, TRY(recv(a, in, 3, MSG_WAITALL)));
	TRY(recv(b, in, 1, 0));
	meet();
	say_bytes("in", in, TRY(recv(a, in, 1, MSG_WAITALL)));
	TRY(send(a, "answer", 6, 0));
	TRY(recv(a, in, 1, 0));
	meet();
	int g = pair_up();
	say_bytes("in", in, TRY(recv(g, in, 6, MSG_WAITALL)));
	TRY(send(g, "answer", 6, 0));
	TRY(recv(g, in, 1, 0));
}
