/* A signal handler arms one-shot registrations again while its thread is changing the same set. */
#include "case.h"

enum { N = 8 };

static int fds[N], set, results[N];
static atomic_int at;
static atomic_int done;

static void handler(int n)
{
	(void)n;
	int saved = errno;
	struct epoll_event e = {.events = EPOLLIN | EPOLLONESHOT, .data.u64 = 7};
	results[at] = epoll_ctl(set, EPOLL_CTL_MOD, fds[at], &e) ? errno : 0;
	at++;
	errno = saved;
}

static pthread_t me;

static void *killer(void *u)
{
	(void)u;
	for (int i = 0; i < N; i++) {
		pthread_kill(me, SIGUSR1);
		/* Two that wait at once are one. */
		while (at <= i)
			nap_ms(1);
	}
	done = 1;
	return NULL;
}

void alice(void)
{
	me = pthread_self();
	set = MUST(epoll_create1(EPOLL_CLOEXEC));
	for (int i = 0; i < N; i++) {
		fds[i] = pair_up();
		watch(set, EPOLL_CTL_ADD, fds[i], EPOLLIN | EPOLLOUT | EPOLLONESHOT, i);
	}
	struct epoll_event all[16];
	int got = 0;
	while (got < N)
		got += MUST(epoll_wait(set, all, 16, 100));
	struct pollfd p = {.fd = set, .events = POLLIN};
	TRY(poll(&p, 1, 0));
	say_events("silent", set, 0);
	int other = MUST(socket(AF_INET, SOCK_STREAM, 0));
	struct sockaddr_in a = bob_address();
	MUST(connect(other, (void *)&a, sizeof a));
	watch(set, EPOLL_CTL_ADD, other, EPOLLIN, 100);
	on_signal(SIGUSR1, handler, SA_RESTART);
	pthread_t t = thread(killer, NULL);
	struct epoll_event e = {.events = EPOLLIN, .data.u64 = 100};
	while (!done)
		MUST(epoll_ctl(set, EPOLL_CTL_MOD, other, &e));
	pthread_join(t, NULL);
	for (int i = 0; i < N; i++)
		say("MOD %d: %s", i, results[i] ? errno_name(results[i]) : "ok");
	meet();
}

void bob(void)
{
	int f[N];
	for (int i = 0; i < N; i++)
		f[i] = pair_up();
	meet();
	for (int i = 0; i < N; i++)
		close(f[i]);
}
