/* A child asks its parent's epoll set, in which a later connection of the parent's has moved: what it is told of is registered, and
 * once the parent has read, it hears of that connection, too. */
#include "case.h"

static char in[100];

/* How often the set tells of something until `flag` is posted; whether of anything but 7. */
static void ask_until(int set, int flag)
{
	bool strange = false;
	struct epoll_event event;
	while (!posted(flag))
		strange |= epoll_wait(set, &event, 1, 5) == 1 && event.data.u64 != 7;
	say("told of what is not there: %d", strange);
}

void alice(void)
{
	int set = MUST(epoll_create1(EPOLL_CLOEXEC)), status;
	pid_t child = MUST(fork());
	if (!child) {
		await(1);
		ask_until(set, 2);
		struct epoll_event event;
		say("child: %d", epoll_wait(set, &event, 1, 2000));
		say("data: %lu", (unsigned long)event.data.u64);
		_exit(0);
	}
	int fd = pair_up();
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 7);
	trickle(fd);
	meet();
	settle_readable(fd, 4);
	post(1);
	nap_ms(100);
	say_events("parent", set, 1000);
	MUST(recv(fd, in, 4, 0));
	say_events("nothing", set, 0);
	meet();
	settle_readable(fd, 4);
	post(2);
	MUST(waitpid(child, &status, 0));
	say_status("child", status);
	TRY(recv(fd, in, 100, 0));
	TRY(close(fd));
}

void bob(void)
{
	int fd = pair_up();
	trickle(fd);
	TRY(send(fd, "abcd", 4, 0));
	meet();
	meet();
	TRY(send(fd, "efgh", 4, 0));
	TRY(recv(fd, in, 1, 0));
}
