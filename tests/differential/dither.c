/* A library preloaded above a case that makes its calls late, as a loaded machine does, here and there: what a case says
 * must not depend on who comes first. SLIPSTREAM_DITHER is the seed: which calls are late, and by how much.
 *
 * A late thread is busy, not asleep, so that settle_asleep() sees through it; and neither makes a system call nor reads a
 * clock, which a case may have forbidden. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

/* One call site in SHARE is late, once, by up to MOST milliseconds or so. */
enum { SHARE = 3, MOST = 40, SITES = 4096, TURNS_OF_A_MILLISECOND = 500000 };

static uint64_t seed;
/* Of an end and what it forks. */
static _Atomic bool *was_late;

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 31) * 0x9e3779b97f4a7c15;
	x = (x ^ x >> 29) * 0xbf58476d1ce4e5b9;
	return x ^ x >> 32;
}

/* The linker gives it the program's arguments: the case, and which end this is. */
__attribute__((constructor)) static void begin(int count, char **arguments)
{
	const char *number = getenv("SLIPSTREAM_DITHER");
	seed = number ? strtoull(number, NULL, 10) : 0;
	was_late = mmap(NULL, SITES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; seed && i < count && i < 2; i++)
		for (const char *at = arguments[i]; *at; at++)
			seed = mix(seed + (unsigned char)*at);
}

static void dither(const void *caller)
{
	/* Where in its page the call is stays the same from run to run. */
	unsigned site = (uintptr_t)caller % SITES;
	uint64_t chance = mix(seed ^ site);
	if (!seed || chance % SHARE || was_late[site])
		return;
	was_late[site] = true;
	for (volatile long turns = (1 + (chance >> 8) % MOST) * TURNS_OF_A_MILLISECOND; turns; turns--)
		;
}

/* Arguments are passed on as words, variadic ones too, as the ABI has them. */
#define LATE(type, name)                                                                                               \
	type late_##name(long, long, long, long, long, long) __asm__(#name);                                           \
	type late_##name(long a, long b, long c, long d, long e, long f)                                               \
	{                                                                                                              \
		static type (*_Atomic next)(long, long, long, long, long, long);                                       \
		if (!next)                                                                                             \
			next = (type(*)(long, long, long, long, long, long))dlsym(RTLD_NEXT, #name);                   \
		dither(__builtin_return_address(0));                                                                   \
		return next(a, b, c, d, e, f);                                                                         \
	}

LATE(int, socket)
LATE(int, connect)
LATE(int, accept)
LATE(int, accept4)
LATE(int, bind)
LATE(int, listen)
LATE(int, close)
LATE(int, shutdown)
LATE(int, dup)
LATE(int, dup2)
LATE(int, dup3)
LATE(int, fcntl)
LATE(int, ioctl)
LATE(int, setsockopt)
LATE(int, getsockopt)
LATE(long, send)
LATE(long, sendto)
LATE(long, sendmsg)
LATE(int, sendmmsg)
LATE(long, write)
LATE(long, writev)
LATE(long, sendfile)
LATE(long, splice)
LATE(long, recv)
LATE(long, recvfrom)
LATE(long, recvmsg)
LATE(int, recvmmsg)
LATE(long, read)
LATE(long, readv)
LATE(long, __recv_chk)
LATE(long, __read_chk)
LATE(int, poll)
LATE(int, ppoll)
LATE(int, __poll_chk)
LATE(int, select)
LATE(int, pselect)
LATE(int, epoll_create1)
LATE(int, epoll_ctl)
LATE(int, epoll_wait)
LATE(int, epoll_pwait)
LATE(int, setitimer)
LATE(int, kill)
LATE(int, pthread_kill)
LATE(int, pthread_create)
LATE(int, pthread_cancel)
LATE(int, pthread_join)
LATE(int, waitpid)
LATE(int, execv)
LATE(int, execve)
