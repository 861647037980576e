/* poll, select and epoll. */
#include "runner.h"

static void say_bits(const char *what, uint32_t bits)
{
	static const struct {
		uint32_t bit;
		const char *name;
	} names[] = {{EPOLLIN, "IN"},   {EPOLLPRI, "PRI"},     {EPOLLOUT, "OUT"},       {EPOLLRDHUP, "RDHUP"},
		     {EPOLLERR, "ERR"}, {EPOLLHUP, "HUP"},     {EPOLLRDNORM, "RDNORM"}, {EPOLLWRNORM, "WRNORM"},
		     {POLLNVAL, "NVAL"}};
	say(" %s", what);
	char mark = ':';
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (bits & names[i].bit) {
			say("%c%s", mark, names[i].name);
			bits &= ~names[i].bit;
			mark = '|';
		}
	if (bits)
		say("%c%#x", mark, bits);
}

static void do_select(const int32_t *arg)
{
	fd_set sets[3];
	int most = -1, fds[SLOTS];
	/* Another thread may close some while this one sleeps. */
	memcpy(fds, slots, sizeof fds);
	struct timeval time = {arg[2] / 1000, arg[2] % 1000 * 1000};
	struct timespec precise = {arg[2] / 1000, arg[2] % 1000 * 1000000};
	for (int kind = 0; kind < 3; kind++)
		FD_ZERO(&sets[kind]);
	for (int i = 0; i < SLOTS; i++)
		if (arg[0] & 1 << i) {
			if (arg[1] & POLLIN)
				FD_SET(fds[i], &sets[0]);
			if (arg[1] & POLLOUT)
				FD_SET(fds[i], &sets[1]);
			if (arg[1] & POLLPRI)
				FD_SET(fds[i], &sets[2]);
			most = fds[i] > most ? fds[i] : most;
		}
	long found = arg[3] == POLLS_select
			     ? TRY(select(most + 1, &sets[0], &sets[1], &sets[2], arg[2] < 0 ? NULL : &time))
			     : TRY(pselect(most + 1, &sets[0], &sets[1], &sets[2], arg[2] < 0 ? NULL : &precise, NULL));
	for (int i = 0; i < SLOTS && found > 0; i++)
		if (arg[0] & 1 << i) {
			char name[16];
			snprintf(name, sizeof name, "%d", i);
			say_bits(name, (FD_ISSET(fds[i], &sets[0]) ? POLLIN : 0) |
					       (FD_ISSET(fds[i], &sets[1]) ? POLLOUT : 0) |
					       (FD_ISSET(fds[i], &sets[2]) ? POLLPRI : 0));
		}
}

void do_poll(const int32_t *arg)
{
	if (arg[3] == POLLS_select || arg[3] == POLLS_pselect) {
		do_select(arg);
		return;
	}
	struct pollfd all[SLOTS];
	int which[SLOTS], count = 0;
	for (int i = 0; i < SLOTS; i++)
		if (arg[0] & 1 << i) {
			which[count] = i;
			all[count++] = (struct pollfd){slots[i], arg[1], 0x5555};
		}
	struct timespec time = {arg[2] / 1000, arg[2] % 1000 * 1000000};
	long found = arg[3] == POLLS_poll ? TRY(poll(all, count, arg[2]))
					  : TRY(ppoll(all, count, arg[2] < 0 ? NULL : &time, NULL));
	for (int i = 0; i < count && found >= 0; i++) {
		char name[16];
		snprintf(name, sizeof name, "%d", which[i]);
		say_bits(name, (unsigned short)all[i].revents);
	}
}

void do_set(const int32_t *arg)
{
	slots[arg[0]] = epoll_create1(EPOLL_CLOEXEC);
	say(" %s", slots[arg[0]] < 0 ? error_name(errno) : "made");
}

void do_control(const int32_t *arg)
{
	struct epoll_event event = {.events = arg[3], .data.u64 = (uint64_t)arg[4] << 32 | (uint32_t)arg[2]};
	TRY(epoll_ctl(slots[arg[0]], arg[1], slots[arg[2]], &event));
}

static int by_data(const void *a, const void *b)
{
	const struct epoll_event *x = a, *y = b;
	return (x->data.u64 > y->data.u64) - (x->data.u64 < y->data.u64);
}

static long waited(const int32_t *arg, struct epoll_event *events, int ms)
{
	struct timespec time = {ms / 1000, ms % 1000 * 1000000};
	switch (arg[3]) {
	case WAITS_epoll_pwait:
		return epoll_pwait(slots[arg[0]], events, arg[1], ms, NULL);
	case WAITS_epoll_pwait2:
		return epoll_pwait2(slots[arg[0]], events, arg[1], ms < 0 ? NULL : &time, NULL);
	default:
		return epoll_wait(slots[arg[0]], events, arg[1], ms);
	}
}

void do_wait(const int32_t *arg)
{
	struct epoll_event events[32];
	errno = UNTOUCHED;
	long found = waited(arg, events, arg[2]);
	if (found < 0 || errno != UNTOUCHED) {
		say_result(found);
		if (found < 0)
			return;
	}
	/* What one call tells, and what the next one does, is not told apart (compare.rs). */
	long more = slots[arg[0]] < 0 ? 0 : waited(arg, events + found, 0), count = found;
	for (long i = found; i < found + more; i++) {
		long same = 0;
		while (same < count && events[same].data.u64 != events[i].data.u64)
			same++;
		if (same < count)
			events[same].events |= events[i].events;
		else
			events[count++] = events[i];
	}
	say(" %ld", count);
	/* The order in which a set tells of several is its own. */
	qsort(events, count, sizeof *events, by_data);
	for (long i = 0; i < count; i++) {
		char name[32];
		snprintf(name, sizeof name, "%u.%u", (unsigned)events[i].data.u64, (unsigned)(events[i].data.u64 >> 32));
		say_bits(name, events[i].events);
	}
}
