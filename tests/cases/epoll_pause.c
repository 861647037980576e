/* A reader that pauses as event loops do for back-pressure: DEL and ADD, or MOD to nothing and back, level-triggered,
 * while a bulk stream arrives; it echoes what it read, so that both directions fill and move to and fro. */
#include "case.h"

enum { SUM = 12 << 20, CHUNK = 1 << 16 };
static int fd;

static void *writer(void *unused)
{
	static char data[CHUNK];
	(void)unused;
	for (size_t done = 0; done < SUM; done += CHUNK) {
		fill(data, CHUNK, 1, done);
		send_all(fd, data, CHUNK);
	}
	return NULL;
}

void alice(void)
{
	static char in[CHUNK * 3];
	for (int way = 0; way < 2; way++) {
		fd = pair_up();
		pthread_t other = thread(writer, NULL);
		/* The same loop on this side. */
		int set = MUST(epoll_create1(0));
		
		for (size_t done = 0; done < SUM;) {
			struct epoll_event event;
			watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 1);
			int found = epoll_wait(set, &event, 1, 20000);
			if (found != 1)
				say("woken: %d", found);
			CHECK(found == 1);
			long got = MUST(recv(fd, in, sizeof in, MSG_DONTWAIT));
			CHECK(got > 0 && is_fill(in, got, 1, done));
			done += got;
			MUST(epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL));
			if (done % 13 == 0)
				nap_ms(2);
		}
		pthread_join(other, NULL);
		say("all");
		TRY(shutdown(fd, SHUT_WR));
		TRY(recv(fd, in, 1, 0));
		close(fd);
		close(set);
	}
}

void bob(void)
{
	static char data[CHUNK * 4];
	for (int way = 0; way < 2; way++) {
		int fd = pair_up(), set = MUST(epoll_create1(0));
		size_t length = 0;
		set_nonblocking(fd, true);
		watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 1);
		bool reading = true, writing = false, ended = false;
		while (!ended || length) {
			struct epoll_event event;
			int found = epoll_wait(set, &event, 1, 20000);
			if (found != 1)
				say("woken: %d, reading %d, writing %d", found, reading, writing);
			CHECK(found == 1);
			if (reading && event.events & EPOLLIN) {
				long got = recv(fd, data + length, sizeof data - length, 0);
				CHECK(got >= 0 || errno == EAGAIN);
				ended = got == 0;
				length += got > 0 ? got : 0;
			}
			while (length) {
				long sent = send(fd, data, length, 0);
				CHECK(sent > 0 || errno == EAGAIN);
				if (sent < 0)
					break;
				length -= sent;
				memmove(data, data + sent, length);
			}
			/* Reads only while nothing waits to be written. */
			bool read = !length && !ended, write = length;
			if (read == reading && write == writing)
				continue;
			uint32_t events = (read ? EPOLLIN : 0) | (write ? EPOLLOUT : 0);
			if (way == 0) {
				MUST(epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL));
				if (events)
					watch(set, EPOLL_CTL_ADD, fd, events, 1);
			} else
				watch(set, EPOLL_CTL_MOD, fd, events, 1);
			reading = read;
			writing = write;
		}
		say("echoed");
		close(fd);
		close(set);
	}
}
