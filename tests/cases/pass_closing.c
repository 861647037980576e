/* A copy of a moved connection handed out by one thread while another closes the original, its bytes unread and its sender
 * gone: who gets it reads them all, to the end. */
#include "case.h"

enum { ROUNDS = 200 };

static int pairs[2];

static void *give_away(void *number)
{
	int fd = (int)(long)number;
	hand_out(pairs[0], fd);
	close(fd);
	return NULL;
}

/* Reads what is left of the connections that are handed out. */
static void read_rests(void)
{
	for (int round = 0; round < ROUNDS; round++) {
		int fd = take_in(pairs[1]);
		char in[100];
		long all = 0, got;
		while ((got = recv(fd, in, sizeof in, 0)) > 0)
			all += got;
		if (all != 12 || got < 0)
			say("round %d: %ld bytes, then %ld %s", round, all, got, errno_name(errno));
		close(fd);
	}
}

void alice(void)
{
	int status;
	MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pairs));
	pid_t child = MUST(fork());
	if (!child) {
		read_rests();
		_exit(0);
	}
	for (int round = 0; round < ROUNDS; round++) {
		int fd = pair_up();
		pthread_t giver = thread(give_away, (void *)MUST(dup(fd)));
		for (int i = 0; i < round % 10 * 300; i++)
			atomic_thread_fence(memory_order_seq_cst);
		close(fd);
		pthread_join(giver, NULL);
	}
	waitpid(child, &status, 0);
	say_status("child", status);
}

void bob(void)
{
	for (int round = 0; round < ROUNDS; round++) {
		int fd = pair_up();
		int now = 1;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &now, sizeof now);
		send_all(fd, "hello, world", 12);
		close(fd);
	}
	say("done");
}
