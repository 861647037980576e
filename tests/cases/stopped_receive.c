/* Stopped and continued in a receive with a timeout, which that ends, and in one that has part of all, which it returns. */
#include "case.h"

static void stop_peer(void)
{
	settle_asleep(peer_pid());
	nap_ms(100);
	MUST(kill(peer_pid(), SIGSTOP));
	nap_ms(50);
	MUST(kill(peer_pid(), SIGCONT));
	nap_ms(50);
}

void alice(void)
{
	int fd = pair_up();
	meet();
	stop_peer();
	meet();
	MUST(send(fd, "12345", 5, 0));
	nap_ms(100);
	stop_peer();
	MUST(send(fd, "67890", 5, 0));
	meet();
	stop_peer();
	MUST(send(fd, "abcde", 5, 0));
	meet();
}

void bob(void)
{
	char in[10];
	struct timeval later = {2, 0}, never = {0, 0};
	int fd = pair_up();
	MUST(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &later, sizeof later));
	meet();
	TRY(recv(fd, in, 10, 0));
	MUST(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &never, sizeof never));
	meet();
	TRY(recv(fd, in, 10, MSG_WAITALL));
	TRY(recv(fd, in, 10, 0));
	/* This one goes on. */
	meet();
	TRY(recv(fd, in, 10, 0));
	meet();
}
