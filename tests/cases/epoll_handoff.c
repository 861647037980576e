/* As event-driven servers with workers do: one thread waits in epoll, takes a ready connection out of the set and hands
 * it to a worker, which serves it and puts it back. Workers link each other's connections, at any moment. An event for a
 * connection that has been taken out, or two events for one, is a crash in such a server. */
#include "case.h"

enum { CLIENTS = 4, CONNECTIONS = 40, TRIPS = 40, WORKERS = 3, SIZE = 64 };
enum { WAITING, WORKING };
struct connection {
	int fd;
	_Atomic int state;
};

static int set, done, queue[2];
static struct connection all[CLIENTS * CONNECTIONS];
static _Atomic int closed, sum;

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

static void *worker(void *unused)
{
	(void)unused;
	struct connection *one;
	char buffer[SIZE];
	while (read(queue[0], &one, sizeof one) == sizeof one) {
		long got = MUST(recv(one->fd, buffer, SIZE, 0));
		if (got == 0) {
			MUST(close(one->fd));
			if (++closed == CLIENTS * CONNECTIONS)
				MUST(write(done, &(uint64_t){1}, 8));
			continue;
		}
		CHECK(got == SIZE);
		send_all(one->fd, buffer, SIZE);
		one->state = WAITING;
		MUST(epoll_ctl(set, EPOLL_CTL_ADD, one->fd, &(struct epoll_event){EPOLLIN, {.ptr = one}}));
	}
	return NULL;
}

void bob(void)
{
	pthread_t threads[WORKERS];
	struct epoll_event events[8];
	int to = listener(), accepted = 0;
	set = MUST(epoll_create1(0));
	done = MUST(eventfd(0, 0));
	MUST(pipe(queue));
	MUST(epoll_ctl(set, EPOLL_CTL_ADD, to, &(struct epoll_event){EPOLLIN, {.ptr = &to}}));
	MUST(epoll_ctl(set, EPOLL_CTL_ADD, done, &(struct epoll_event){EPOLLIN, {.ptr = &done}}));
	for (int i = 0; i < WORKERS; i++)
		threads[i] = thread(worker, NULL);
	meet();
	for (bool going = true; going;) {
		int count = MUST(epoll_wait(set, events, 8, 20000));
		CHECK(count > 0);
		for (int i = 0; i < count; i++) {
			struct connection *one = events[i].data.ptr;
			if (events[i].data.ptr == &done) {
				going = false;
			} else if (events[i].data.ptr == &to) {
				one = &all[accepted++];
				one->fd = MUST(accept(to, NULL, NULL));
				MUST(epoll_ctl(set, EPOLL_CTL_ADD, one->fd, &(struct epoll_event){EPOLLIN, {.ptr = one}}));
			} else {
				CHECK(one->state == WAITING);
				one->state = WORKING;
				MUST(epoll_ctl(set, EPOLL_CTL_DEL, one->fd, NULL));
				MUST(write(queue[1], &one, sizeof one));
			}
		}
	}
	MUST(close(queue[1]));
	for (int i = 0; i < WORKERS; i++)
		pthread_join(threads[i], NULL);
	say("%d connections served", closed);
}
