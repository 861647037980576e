/* Half-close: one direction ends, the other goes on, long after. */
#include "case.h"

static char data[200000], in[200000];

void alice(void)
{
	int fd = pair_up();
	fill(data, sizeof data, 1, 0);
	send_all(fd, data, sizeof data);
	TRY(shutdown(fd, 7));
	TRY(shutdown(fd, SHUT_WR));
	say_bytes("answer", in, TRY(recv(fd, in, sizeof in, MSG_WAITALL)));
	TRY(recv(fd, in, 1, 0));
	TRY(shutdown(fd, SHUT_WR));
	TRY(close(fd));
	/* SHUT_RD here: reads end, what comes later is still read by the kernel's rules. */
	fd = pair_up();
	TRY(shutdown(fd, SHUT_RD));
	TRY(recv(fd, in, 10, 0));
	struct pollfd one = {fd, POLLIN | POLLOUT | POLLRDHUP, 0};
	TRY(poll(&one, 1, 0));
	say_poll("after SHUT_RD", one.revents);
	meet();
	meet();
	settle_readable(fd, 5);
	say_bytes("late", in, TRY(recv(fd, in, 10, 0)));
	TRY(recv(fd, in, 10, 0));
	TRY(send(fd, "still", 5, 0));
	TRY(shutdown(fd, SHUT_RDWR));
	TRY(send(fd, "x", 1, MSG_NOSIGNAL));
	TRY(shutdown(fd, 3));
	TRY(shutdown(fd, -1));
	TRY(close(fd));
	TRY(shutdown(fd, SHUT_RD));
}

void bob(void)
{
	int fd = pair_up();
	say_bytes("all", in, TRY(recv(fd, in, sizeof in, MSG_WAITALL)));
	TRY(recv(fd, in, 1, 0));
	struct pollfd one = {fd, POLLIN | POLLOUT | POLLRDHUP, 0};
	TRY(poll(&one, 1, 0));
	say_poll("half closed", one.revents);
	fill(data, sizeof data, 2, 0);
	for (size_t i = 0; i < sizeof data; i += 10000)
		send_all(fd, data + i, 10000);
	TRY(close(fd));
	fd = pair_up();
	meet();
	TRY(send(fd, "after", 5, 0));
	meet();
	say_rest(fd);
	TRY(close(fd));
}
