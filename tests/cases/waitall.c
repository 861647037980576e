/* MSG_WAITALL: all, or what there was when the stream ended, a signal came or the time ran out. */
#include "case.h"

static char in[200000];

static void nothing(int number)
{
	(void)number;
}

void alice(void)
{
	int fd = pair_up();
	static char data[150000];
	fill(data, sizeof data, 1, 0);
	for (int i = 0; i < 10; i++) {
		send_all(fd, data + i * 100, 100);
		nap_ms(5);
	}
	meet();
	send_all(fd, data, sizeof data);
	meet();
	send_all(fd, data, 70); /* then a signal */
	settle_asleep(peer_pid());
	kill(peer_pid(), SIGUSR1);
	meet();
	send_all(fd, data, 80); /* then time runs out */
	meet();
	meet();
	send_all(fd, data, 90); /* a nonblocking call takes what is there */
	meet();
	meet();
	send_all(fd, data, 60); /* then the end */
	TRY(close(fd));
}

void bob(void)
{
	int fd = pair_up();
	on_signal(SIGUSR1, nothing, 0);
	say_bytes("1000", in, TRY(recv(fd, in, 1000, MSG_WAITALL)));
	meet();
	say_bytes("150000", in, TRY(recv(fd, in, 150000, MSG_WAITALL)));
	meet();
	say_bytes("signal", in, TRY(recv(fd, in, 1000, MSG_WAITALL)));
	meet();
	meet();
	struct timeval timeout = {0, 300000};
	TRY(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout));
	long start = now_ms();
	say_bytes("timeout", in, TRY(recv(fd, in, 1000, MSG_WAITALL)));
	say_time("timeout", start, 300);
	TRY(recv(fd, in, 1000, MSG_WAITALL));
	timeout.tv_usec = 0;
	TRY(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout));
	meet();
	settle_readable(fd, 90);
	say_bytes("dontwait", in, TRY(recv(fd, in, 1000, MSG_WAITALL | MSG_DONTWAIT)));
	meet();
	meet();
	say_bytes("end", in, TRY(recv(fd, in, 1000, MSG_WAITALL)));
	say_bytes("end", in, TRY(recv(fd, in, 1000, MSG_WAITALL)));
}
