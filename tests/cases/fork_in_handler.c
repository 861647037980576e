/* A handler forks inside its thread's receive, and inside its poll: the child returns from the handler, and both go on with the
 * connection. */
#include "case.h"

static volatile pid_t child;

static void forks(int signal)
{
	(void)signal;
	child = fork();
}

static void write_to(int fd, int polls)
{
	char rest[8];
	settle_asleep(peer_pid());
	MUST(kill(peer_pid(), SIGUSR1));
	await(3 * polls + 1);
	nap_ms(50);
	send_all(fd, "hello", 5);
	await(3 * polls + 2);
	send_all(fd, "world", 5);
	await(3 * polls + 3);
	TRY(recv(fd, rest, sizeof rest, 0));
	TRY(close(fd));
}

static void read_in_two(int fd, int polls)
{
	char in[8] = "";
	struct pollfd one = {.fd = fd, .events = POLLIN};
	int status;
	if (polls)
		TRY(poll(&one, 1, -1));
	else
		TRY(recv(fd, in, 5, 0));
	if (child == 0) {
		/* What the child had let go of too early would be this one's. */
		int other = MUST(socket(AF_INET, SOCK_STREAM, 0));
		post(3 * polls + 1);
		TRY(recv(fd, in, 5, 0));
		say("child has %.5s", in);
		MUST(close(other));
		post(3 * polls + 2);
		TRY(recv(fd, in, 5, 0));
		say("child has %.5s", in);
		TRY(close(fd));
		_exit(0);
	}
	MUST(waitpid(child, &status, 0));
	say_status("child", status);
	TRY(send(fd, "end", 3, 0));
	post(3 * polls + 3);
	TRY(close(fd));
}

void alice(void)
{
	for (int polls = 0; polls < 2; polls++) {
		int fd = pair_up();
		write_to(fd, polls);
		meet();
	}
}

void bob(void)
{
	on_signal(SIGUSR1, forks, 0);
	for (int polls = 0; polls < 2; polls++) {
		int fd = pair_up();
		read_in_two(fd, polls);
		meet();
	}
}
