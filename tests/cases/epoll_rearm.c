/* Several threads wait in one set; each registration fires once, for one of them, who serves the connection and arms it
 * again. Half of the connections are edge-triggered beside. Two threads with one connection is what must not be. */
#include "case.h"

enum { CLIENTS = 4, CONNECTIONS = 40, TRIPS = 40, WORKERS = 4, SIZE = 64 };
struct connection {
	int fd;
	uint32_t events;
	_Atomic int inside;
};

static int set, done;
static struct connection all[CLIENTS * CONNECTIONS];
static _Atomic int accepted, closed, sum;

static void *client(void *unused)
{
	(void)unused;
	char out[SIZE], in[SIZE];
	struct sockaddr_in to = bob_address();
	for (int i = 0; i < CONNECTIONS; i++) {
		int fd = MUST(socket(AF_INET, SOCK_STREAM, 0));
		MUST(connect(fd, (void *)&to, sizeof to));
		for (int trip = 0; trip < TRIPS; trip++) {
			fill(out, SIZE, i * TRIPS + trip, 0);
			send_all(fd, out, SIZE);
			recv_all(fd, in, SIZE);
			CHECK(!memcmp(out, in, SIZE));
			sum++;
		}
		MUST(close(fd));
	}
	return NULL;
}

void alice(void)
{
	pthread_t threads[CLIENTS];
	meet();
	for (int i = 0; i < CLIENTS; i++)
		threads[i] = thread(client, NULL);
	for (int i = 0; i < CLIENTS; i++)
		pthread_join(threads[i], NULL);
	say("%d round trips", sum);
}

static void arm(int operation, struct connection *one)
{
	MUST(epoll_ctl(set, operation, one->fd, &(struct epoll_event){one->events, {.ptr = one}}));
}

/* The listener has no connection. */
static void take_one(void)
{
	int number = accepted++;
	struct connection *one = &all[number];
	one->fd = MUST(accept(listener(), NULL, NULL));
	one->events = EPOLLIN | EPOLLONESHOT | (number % 2 ? EPOLLET : 0);
	arm(EPOLL_CTL_ADD, one);
}

static void serve(struct connection *one)
{
	char buffer[SIZE];
	CHECK(atomic_exchange(&one->inside, 1) == 0);
	long got = MUST(recv(one->fd, buffer, SIZE, MSG_DONTWAIT));
	if (got == 0) {
		MUST(close(one->fd));
		if (++closed == CLIENTS * CONNECTIONS)
			MUST(write(done, &(uint64_t){1}, 8));
		return;
	}
	CHECK(got == SIZE);
	send_all(one->fd, buffer, SIZE);
	one->inside = 0;
	arm(EPOLL_CTL_MOD, one);
}

static void *worker(void *unused)
{
	(void)unused;
	struct epoll_event events[3];
	for (;;) {
		int count = MUST(epoll_wait(set, events, 3, 20000));
		CHECK(count > 0);
		for (int i = 0; i < count; i++) {
			if (events[i].data.ptr == &done)
				return NULL;
			if (!events[i].data.ptr) {
				take_one();
				MUST(epoll_ctl(set, EPOLL_CTL_MOD, listener(),
					       &(struct epoll_event){EPOLLIN | EPOLLONESHOT, {0}}));
			} else {
				serve(events[i].data.ptr);
			}
		}
	}
}

void bob(void)
{
	pthread_t threads[WORKERS];
	set = MUST(epoll_create1(0));
	done = MUST(eventfd(0, 0));
	MUST(epoll_ctl(set, EPOLL_CTL_ADD, listener(), &(struct epoll_event){EPOLLIN | EPOLLONESHOT, {0}}));
	/* Never read: everybody sees it. */
	MUST(epoll_ctl(set, EPOLL_CTL_ADD, done, &(struct epoll_event){EPOLLIN, {.ptr = &done}}));
	for (int i = 0; i < WORKERS; i++)
		threads[i] = thread(worker, NULL);
	meet();
	for (int i = 0; i < WORKERS; i++)
		pthread_join(threads[i], NULL);
	say("%d connections served", closed);
}
