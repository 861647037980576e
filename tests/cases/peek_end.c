/* A peek that waits for more than comes: the stream ends, a signal arrives, the time runs out; on TCP as in the ring. */
#include "case.h"

static char in[100];

static void nothing(int number)
{
	(void)number;
}

static void feed(int fd, bool by_tcp)
{
	if (!by_tcp) {
		send_all(fd, "0123456789", 10);
		return;
	}
	int file = MUST(memfd_create("file", 0));
	CHECK(write(file, "0123456789", 10) == 10);
	off_t at = 0;
	CHECK(sendfile(fd, file, &at, 10) == 10);
	close(file);
}

void bob(void)
{
	for (int by_tcp = 0; by_tcp < 2; by_tcp++) {
		int fd = pair_up();
		feed(fd, by_tcp);
		meet();
		settle_asleep(peer_pid());
		MUST(kill(peer_pid(), SIGUSR1));
		meet();
		meet();
		settle_asleep(peer_pid());
		TRY(shutdown(fd, SHUT_WR));
		meet();
		TRY(recv(fd, in, 1, 0));
		TRY(close(fd));
	}
}

void alice(void)
{
	for (int by_tcp = 0; by_tcp < 2; by_tcp++) {
		int fd = pair_up();
		/* What is there is told, even where the call would else begin anew. */
		on_signal(SIGUSR1, nothing, by_tcp ? 0 : SA_RESTART);
		settle_readable(fd, 10);
		meet();
		say_bytes("signal", in, TRY(recv(fd, in, 20, MSG_PEEK | MSG_WAITALL)));
		meet();
		struct timeval timeout = {0, 30000};
		MUST(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout));
		say_bytes("time", in, TRY(recv(fd, in, 20, MSG_PEEK | MSG_WAITALL)));
		timeout.tv_usec = 0;
		MUST(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout));
		meet();
		say_bytes("end", in, TRY(recv(fd, in, 20, MSG_PEEK | MSG_WAITALL)));
		meet();
		say_bytes("all", in, TRY(recv(fd, in, 20, 0)));
		TRY(close(fd));
	}
}
