/* pthread_cancel in a blocking call on a moved connection: the thread ends, its clean-up runs, the endpoint lives on. */
#include "case.h"

static int fd, set;
static char data[4 << 20], in[100];
static _Atomic int tid;
static const char *step;

#define COMMA ,

static void cleanup(void *word)
{
	say("%s: clean-up", (char *)word);
}

#define BLOCKER(name, call)                                                                                            \
	static void *name(void *unused)                                                                                \
	{                                                                                                              \
		(void)unused;                                                                                          \
		atomic_store(&tid, gettid());                                                                          \
		pthread_cleanup_push(cleanup, (void *)step);                                                           \
		call;                                                                                                  \
		say("%s: came back", step);                                                                            \
		pthread_cleanup_pop(0);                                                                                \
		return NULL;                                                                                           \
	}

static struct iovec part = {in, 10};
static struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
BLOCKER(in_recv, recv(fd, in, 10, 0))
BLOCKER(in_read, read(fd, in, 10))
BLOCKER(in_readv, readv(fd, &part, 1))
BLOCKER(in_recvmsg, recvmsg(fd, &message, 0))
BLOCKER(in_waitall, recv(fd, in, 10, MSG_WAITALL))
BLOCKER(in_poll, struct pollfd one = {fd COMMA POLLIN COMMA 0}; poll(&one, 1, -1))
BLOCKER(in_select, fd_set reading; FD_ZERO(&reading); FD_SET(fd, &reading); select(fd + 1, &reading, NULL, NULL, NULL))
BLOCKER(in_epoll, struct epoll_event event; epoll_wait(set, &event, 1, -1))
BLOCKER(in_send, for (;;) send(fd, data, sizeof data, 0))

static void cancelled(const char *name, void *(*body)(void *))
{
	step = name;
	atomic_store(&tid, 0);
	pthread_t other = thread(body, NULL);
	while (!atomic_load(&tid))
		nap_ms(1);
	settle_asleep(atomic_load(&tid));
	CHECK(pthread_cancel(other) == 0);
	void *result;
	CHECK(pthread_join(other, &result) == 0);
	say("%s: cancelled %d", name, result == PTHREAD_CANCELED);
	/* The stream goes on as if nothing had been. */
	meet();
	say_bytes("after", in, recv(fd, in, 10, MSG_WAITALL));
	CHECK(send(fd, "answer", 6, 0) == 6);
}

static void *pending(void *unused)
{
	(void)unused;
	int old;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
	atomic_store(&tid, gettid());
	await(1);
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &old);
	/* There is data, but the request is older. */
	recv(fd, in, 10, 0);
	say("not cancelled");
	return NULL;
}

void alice(void)
{
	fd = pair_up();
	set = MUST(epoll_create1(0));
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 1);
	cancelled("recv", in_recv);
	cancelled("read", in_read);
	cancelled("readv", in_readv);
	cancelled("recvmsg", in_recvmsg);
	cancelled("waitall", in_waitall);
	cancelled("poll", in_poll);
	cancelled("select", in_select);
	cancelled("epoll", in_epoll);
	/* A pending request acts before the call takes anything. */
	meet();
	settle_readable(fd, 10);
	pthread_t other = thread(pending, NULL);
	CHECK(pthread_cancel(other) == 0);
	post(1);
	void *result;
	CHECK(pthread_join(other, &result) == 0);
	say("pending: cancelled %d", result == PTHREAD_CANCELED);
	say_bytes("after", in, TRY(recv(fd, in, 10, 0)));
	/* A full sender. */
	step = "send";
	fill(data, sizeof data, 1, 0);
	atomic_store(&tid, 0);
	other = thread(in_send, NULL);
	while (!atomic_load(&tid))
		nap_ms(1);
	settle_asleep(atomic_load(&tid));
	CHECK(pthread_cancel(other) == 0);
	CHECK(pthread_join(other, &result) == 0);
	say("send: cancelled %d", result == PTHREAD_CANCELED);
	TRY(close(fd));
	meet();
}

void bob(void)
{
	int fd = pair_up();
	for (int i = 0; i < 8; i++) {
		meet();
		send_all(fd, "0123456789", 10);
		recv_all(fd, in, 6);
	}
	send_all(fd, "0123456789", 10);
	meet();
	meet();
	long sum = 0, got;
	while ((got = recv(fd, data, sizeof data, 0)) > 0)
		sum += got;
	say("some: %d, then %s", sum > 0, got ? errno_name(errno) : "end");
}
