/* A case: one small program with two ends, run once over plain TCP and once under the shim. What it says must be equal.
 *
 * A case defines alice() (who connects) and bob() (who accepts). Each runs in a process of its own, started by exec.
 * They talk to the runner, and meet each other, through one shared page (case.c), not through descriptors, so that the
 * descriptor table is the case's own.
 *
 * Rules of the transcript: only what the kernel promises is said. No ports, no times, no buffer sizes, no counts that
 * depend on scheduling. Where a value needs time to become true (a FIN to arrive), wait for it with settle_*() first. */
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/sockios.h>

void alice(void);
void bob(void);

/* --- the transcript --- */

__attribute__((format(printf, 1, 2))) void say(const char *format, ...);
const char *errno_name(int error);
/* Says what a call returned; a call that succeeds must leave errno alone. */
#define UNTOUCHED 12345
void say_result(const char *call, long result, int error);
#define TRY(call)                                                                                                      \
	({                                                                                                             \
		errno = UNTOUCHED;                                                                                     \
		long result_ = (long)(call);                                                                           \
		int error_ = errno;                                                                                    \
		say_result(#call, result_, error_);                                                                    \
		errno = error_;                                                                                        \
		result_;                                                                                               \
	})
/* A step of the case itself: anything but success ends the process with a word about it. */
void fail(const char *what, const char *file, int line) __attribute__((noreturn));
#define MUST(call)                                                                                                     \
	({                                                                                                             \
		long must_ = (long)(call);                                                                             \
		if (must_ < 0)                                                                                         \
			fail(#call, __FILE__, __LINE__);                                                               \
		must_;                                                                                                 \
	})
#define CHECK(truth)                                                                                                   \
	do {                                                                                                           \
		if (!(truth))                                                                                          \
			fail(#truth, __FILE__, __LINE__);                                                              \
	} while (0)
void say_bytes(const char *what, const void *bytes, long length);
void say_poll(const char *what, short revents);
void say_epoll(const char *what, uint32_t events);
/* epoll_wait, its events said in the order of their data. */
int say_events(const char *what, int set, int timeout);
void watch(int set, int operation, int fd, uint32_t events, uint64_t data);
void say_status(const char *what, int status); /* of waitpid */
/* Says whether the time since `start` (now_ms()) is at least `least` and not absurdly more. */
void say_time(const char *what, long start, long least);
long now_ms(void);
void nap_ms(long ms);

/* --- the other end --- */

extern bool is_alice;
/* Both ends have come here. */
void meet(void);
/* One-way signs, also between forks and threads; 0..63. */
void post(int flag);
void await(int flag);
bool posted(int flag);
/* Words that both ends see; 0..63, 0 at first. */
void give(int word, long value);
long take(int word);
pid_t peer_pid(void);

/* --- connections --- */

/* Bob's listener on loopback (made at first use); alice's connect / bob's accept. Not warmed. */
int listener(void);
int listener6(void);
struct sockaddr_in bob_address(void);
struct sockaddr_in6 bob_address6(void);
int joined(void);
/* joined() + warm(). */
int pair_up(void);
/* Exchanges round trips until the runner has seen both directions of the connection moved. Both ends call it. */
void warm(int fd);
void warm_as(int fd, bool leader);
/* For the acceptor's side in the same process as its peer. */
void warm_self(int connected, int accepted);
/* 300 round trips without waiting for a move: for connections that must stay on TCP, or may. */
void trickle(int fd);
/* Takes what is there until the peer's end of stream, saying only the sum. */
void say_rest(int fd);

/* pair_up(), and bob has sent ten bytes and closed his end with six of alice's unread: a reset. Alice's end; bob has none. */
int broken_pair(void);
/* SO_ERROR, which asking takes. */
int socket_error(int fd);

/* Hands a descriptor out over a Unix socket, and takes one. Nothing is said of it: who gets it speaks at the same time. */
void hand_out(int to, int fd);
int take_in(int from);

/* --- bytes --- */

/* The case's data: byte i of stream `tag`. */
void fill(void *buffer, size_t length, uint32_t tag, size_t offset);
bool is_fill(const void *buffer, size_t length, uint32_t tag, size_t offset);
uint64_t hash(const void *bytes, size_t length);
void send_all(int fd, const void *buffer, size_t length);
void recv_all(int fd, void *buffer, size_t length);
/* Waits until FIONREAD says n (or more), the peer's FIN or RST has arrived, the send queue is empty. */
void settle_readable(int fd, int n);
void settle_fin(int fd);
void settle_reset(int fd);
void settle_sent(int fd);
/* Waits until a set reports so many events at once (at most 16), which it must do again. */
void settle_events(int set, int n);
/* Waits until the thread `tid` (of any process) sleeps in the kernel for a while. */
void settle_asleep(pid_t tid);
void set_nonblocking(int fd, bool on);
void on_signal(int number, void (*handler)(int), int flags);
/* The thread that took the last signal whose handler is note_taker. */
extern _Atomic pid_t taker;
void note_taker(int number);
pthread_t thread(void *(*body)(void *), void *argument);
/* The calling thread runs on this CPU alone. */
void pin_to(int cpu);
/* Executes the case again in the same role, with `fd` kept: again(fd) then runs. */
void exec_again(int fd, bool bare) __attribute__((noreturn));
void again(int fd);
