/* Urgent data: SIGURG, MSG_OOB, SIOCATMARK, POLLPRI, SO_OOBINLINE, on a connection that had moved. */
#include "case.h"

static char in[100];
static volatile int urgent;

static void handler(int number)
{
	(void)number;
	urgent++;
}

void alice(void)
{
	int fd = pair_up();
	TRY(send(fd, "before", 6, 0));
	TRY(send(fd, "!", 1, MSG_OOB));
	TRY(send(fd, "after", 5, 0));
	meet();
	meet();
	TRY(send(fd, "in?", 3, MSG_OOB));
	TRY(send(fd, "line", 4, 0));
	meet();
	TRY(recv(fd, in, 1, 0));
	/* Nothing ends the wait for all but the mark. */
	fd = pair_up();
	TRY(send(fd, "0123456789", 10, 0));
	TRY(send(fd, "!", 1, MSG_OOB));
	TRY(send(fd, "abcdefghij", 10, 0));
	meet();
	meet();
}

void bob(void)
{
	int fd = pair_up(), mark = -1, on = 1;
	on_signal(SIGURG, handler, SA_RESTART);
	meet();
	settle_readable(fd, 6);
	nap_ms(20);
	struct pollfd one = {fd, POLLIN | POLLPRI, 0};
	TRY(poll(&one, 1, 1000));
	say_poll("urgent", one.revents);
	TRY(ioctl(fd, SIOCATMARK, &mark));
	say("mark %d", mark);
	TRY(sockatmark(fd));
	say_bytes("up to the mark", in, TRY(recv(fd, in, 100, 0)));
	TRY(ioctl(fd, SIOCATMARK, &mark));
	say("mark %d", mark);
	TRY(sockatmark(fd));
	say_bytes("urgent", in, TRY(recv(fd, in, 10, MSG_OOB)));
	TRY(recv(fd, in, 10, MSG_OOB));
	say_bytes("after", in, TRY(recv(fd, in, 100, 0)));
	TRY(setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on));
	TRY(fcntl(fd, F_SETOWN, getpid()));
	urgent = 0;
	meet();
	settle_readable(fd, 7);
	nap_ms(20);
	say("urgent %d", urgent > 0);
	TRY(recv(fd, in, 10, MSG_OOB));
	say_bytes("up to the mark", in, TRY(recv(fd, in, 100, 0)));
	say_bytes("rest", in, TRY(recv(fd, in, 100, 0)));
	meet();
	TRY(close(fd));
	fd = pair_up();
	meet();
	say_bytes("all up to the mark", in, TRY(recv(fd, in, 20, MSG_WAITALL)));
	say_bytes("all behind it", in, TRY(recv(fd, in, 10, MSG_WAITALL)));
	meet();
}
