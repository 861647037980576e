/* One thread closes, or shuts down, what another sleeps on. */
#include "case.h"

static int fd, set;
static char in[100];
static _Atomic int tid;

static void *in_recv(void *dup)
{
	atomic_store(&tid, gettid());
	say_bytes("sleeper", in, TRY(recv(fd, in, 10, 0)));
	if (dup)
		say_bytes("sleeper", in, TRY(recv(fd, in, 10, 0)));
	return NULL;
}

static void *in_poll(void *unused)
{
	(void)unused;
	atomic_store(&tid, gettid());
	struct pollfd one = {fd, POLLIN | POLLRDHUP, 0};
	TRY(poll(&one, 1, 10000));
	say_poll("sleeper", one.revents);
	return NULL;
}

static void *in_epoll(void *unused)
{
	(void)unused;
	atomic_store(&tid, gettid());
	say_events("sleeper", set, 1000);
	return NULL;
}

static pthread_t asleep(void *(*body)(void *), void *argument)
{
	atomic_store(&tid, 0);
	pthread_t other = thread(body, argument);
	while (!atomic_load(&tid))
		nap_ms(1);
	settle_asleep(atomic_load(&tid));
	return other;
}

void alice(void)
{
	/* shutdown wakes. */
	fd = pair_up();
	pthread_t other = asleep(in_recv, NULL);
	MUST(shutdown(fd, SHUT_RD));
	pthread_join(other, NULL);
	TRY(close(fd));
	fd = pair_up();
	other = asleep(in_recv, NULL);
	MUST(shutdown(fd, SHUT_RDWR));
	pthread_join(other, NULL);
	TRY(close(fd));
	fd = pair_up();
	other = asleep(in_poll, NULL);
	MUST(shutdown(fd, SHUT_RD));
	pthread_join(other, NULL);
	TRY(close(fd));
	/* close does not: the sleeper's call keeps the socket, no FIN goes out, and what comes is delivered. */
	fd = pair_up();
	other = asleep(in_recv, NULL);
	int was = fd;
	MUST(close(fd));
	say("same number again: %d", MUST(open("/dev/null", O_RDONLY | O_CLOEXEC)) == was);
	meet();
	pthread_join(other, NULL);
	meet();
	close(was);
	/* The sleeper's second call finds another socket under its number. */
	fd = pair_up();
	int second = pair_up();
	other = asleep(in_recv, &second);
	TRY(dup2(second, fd) == fd);
	meet();
	pthread_join(other, NULL);
	close(second);
	close(fd);
	meet();
	/* A set forgets what is closed. */
	set = MUST(epoll_create1(0));
	fd = pair_up();
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLRDHUP, 1);
	other = asleep(in_epoll, NULL);
	MUST(close(fd));
	pthread_join(other, NULL);
	meet();
}

void bob(void)
{
	for (int i = 0; i < 3; i++) {
		int fd = pair_up();
		if (i == 1)
			TRY(recv(fd, in, 1, 0));
		else {
			say_rest(fd);
		}
		close(fd);
	}
	int fd = pair_up();
	meet();
	struct pollfd one = {fd, POLLIN | POLLRDHUP, 0};
	TRY(poll(&one, 1, 100));
	TRY(send(fd, "0123456789", 10, 0));
	meet();
	TRY(recv(fd, in, 1, 0));
	close(fd);
	fd = pair_up();
	int second = pair_up();
	meet();
	TRY(send(fd, "first", 5, 0));
	TRY(recv(fd, in, 1, 0));
	TRY(send(second, "second", 6, 0));
	meet();
	TRY(recv(second, in, 1, 0));
	close(fd);
	close(second);
	fd = pair_up();
	say_rest(fd);
	meet();
}
