/* A server that makes the connection its standard input and output, and goes on with printf and fgets in the same
 * image. */
#include "case.h"

static char in[1000];

void alice(void)
{
	int fd = pair_up();
	send_all(fd, "before\n", 7);
	TRY(dup2(fd, 0));
	TRY(dup2(fd, 1));
	TRY(printf("by printf\n"));
	TRY(fflush(stdout));
	send_all(fd, "by send\n", 8);
	TRY(puts("by puts"));
	TRY(fflush(stdout));
	meet();
	CHECK(fgets(in, sizeof in, stdin));
	say("got %s", in);
	TRY(fclose(stdin));
	TRY(fclose(stdout));
	TRY(recv(fd, in, 1, 0));
}

void bob(void)
{
	int fd = pair_up();
	long sum = 0;
	meet();
	settle_readable(fd, 33);
	sum = MUST(recv(fd, in, 33, MSG_WAITALL));
	say("%.*s", (int)sum, in);
	TRY(send(fd, "answer\n", 7, 0));
	TRY(shutdown(fd, SHUT_WR));
	TRY(recv(fd, in, 1, 0));
}
