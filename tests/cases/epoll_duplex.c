/* Event loops on both ends with several connections, the way asyncio does it: bulk both ways at once, reading paused by
 * DEL or MOD whenever much has been read, writing watched only while it would block, few events taken at a time. */
#include "case.h"

enum { CONNECTIONS = 4, SUM = 6 << 20, CHUNK = 1 << 18 };

struct one {
	int fd;
	uint32_t watched;
	size_t sent, got, unread; /* unread: read but not "consumed" yet */
	int paused; /* so many more looks at the others */
	bool ended;
};

static char buffer[CHUNK];

static void rewatch(int set, struct one *one, uint32_t events, int number)
{
	if (events == one->watched)
		return;
	if (!events)
		MUST(epoll_ctl(set, EPOLL_CTL_DEL, one->fd, NULL));
	else
		watch(set, one->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, one->fd, events, number);
	one->watched = events;
}

static void both(void)
{
	struct one all[CONNECTIONS] = {0};
	int set = MUST(epoll_create1(0)), open = CONNECTIONS;
	for (int i = 0; i < CONNECTIONS; i++) {
		all[i].fd = pair_up();
		set_nonblocking(all[i].fd, true);
		rewatch(set, &all[i], EPOLLIN | EPOLLOUT, i);
	}
	while (open) {
		struct epoll_event events[CONNECTIONS - 1];
		/* Nobody waits while something is paused: it goes on after a look or two at the others. */
		bool paused = false;
		for (int i = 0; i < CONNECTIONS; i++)
			paused = paused || all[i].paused;
		int found = epoll_wait(set, events, CONNECTIONS - 1, paused ? 0 : 15000);
		if (found <= 0 && !paused) {
			say("woken: %d", found);
			for (int i = 0; i < CONNECTIONS; i++) {
				short on_tcp = 0;
				struct pollfd polled = {all[i].fd, POLLIN | POLLOUT, 0};
				int there = -1;
				ioctl(all[i].fd, FIONREAD, &there);
				poll(&polled, 1, 0);
				on_tcp = polled.revents;
				say("%d: watched %#x sent %zu got %zu FIONREAD %d poll %#x", i, all[i].watched,
				    all[i].sent, all[i].got, there, on_tcp);
			}
			fail("nothing happens", __FILE__, __LINE__);
		}
		for (int e = 0; e < found; e++) {
			int i = events[e].data.u64;
			struct one *one = &all[i];
			uint32_t want = one->watched;
			if (want & EPOLLIN && events[e].events & EPOLLIN) {
				long got = recv(one->fd, buffer, sizeof buffer, 0);
				CHECK(got >= 0 || errno == EAGAIN);
				if (got > 0) {
					CHECK(is_fill(buffer, got, 2 * i + !is_alice, one->got));
					one->got += got;
					one->unread += got;
				}
				if (got == 0) {
					one->ended = true;
					want &= ~EPOLLIN;
				} else if (one->unread > 1 << 17) {
					one->paused = 1 + one->got % 3;
					want &= ~EPOLLIN;
				}
			}
			if (want & EPOLLOUT && events[e].events & EPOLLOUT) {
				size_t size = SUM - one->sent < sizeof buffer ? SUM - one->sent : sizeof buffer;
				fill(buffer, size, 2 * i + is_alice, one->sent);
				long sent = size ? send(one->fd, buffer, size, 0) : 0;
				CHECK(sent >= 0 || errno == EAGAIN);
				one->sent += sent > 0 ? sent : 0;
				if (one->sent == SUM) {
					MUST(shutdown(one->fd, SHUT_WR));
					want &= ~EPOLLOUT;
				}
			}
			rewatch(set, one, want, i);
			if (one->ended && one->sent == SUM) {
				CHECK(one->got == SUM);
				close(one->fd);
				open--;
				one->fd = -1;
			}
		}
		for (int i = 0; i < CONNECTIONS; i++)
			if (all[i].paused && !--all[i].paused) {
				all[i].unread = 0;
				rewatch(set, &all[i], all[i].watched | EPOLLIN, i);
			}
	}
	close(set);
	say("all");
}

void alice(void)
{
	both();
}

void bob(void)
{
	both();
}
