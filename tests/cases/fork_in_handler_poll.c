/* A handler forks inside its thread's poll: the child returns from the handler, and both go on with the connection. */
#include "case.h"
static volatile int child = -1;
static void forks(int s) { (void)s; if (child == -1) child = fork(); }
void alice(void)
{
	int fd = pair_up();
	settle_asleep(peer_pid());
	kill(peer_pid(), SIGUSR1);
	await(3);
	nap_ms(50);
	send_all(fd, "hello", 5);
	await(1);
	send_all(fd, "world", 5);
	char b[8];
	await(2);
	say("rest %ld", (long)recv(fd, b, 8, 0));
	close(fd);
}
void bob(void)
{
	char b[8] = "";
	int status;
	int fd = pair_up();
	on_signal(SIGUSR1, forks, 0);
	struct pollfd pp = {.fd = fd, .events = POLLIN};
	long got = poll(&pp, 1, -1);
	if (child == 0) {
		CHECK(got < 0);
		say("child %s", errno_name(errno));
		int other = socket(AF_INET, SOCK_STREAM, 0);
		post(3);
		got = recv(fd, b, 5, 0);
		say("child got %ld %.5s", got, b);
		close(other);
		post(1);
		got = recv(fd, b, 5, 0);
		say("child got %ld %.5s", got, b);
		close(fd);
		_exit(0);
	}
	MUST(waitpid(child, &status, 0));
	say("parent recv %s", got < 0 ? errno_name(errno) : "bytes");
	say_status("child", status);
	CHECK(send(fd, "end", 3, 0) == 3);
	post(2);
	close(fd);
}
