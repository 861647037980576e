/* The program that plays scripts: some threads in some processes, each of which waits for steps on a shared page and makes
 * the calls that they name. The conductor (world.rs) decides who does what, and when. */
#pragma once
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
/* Made from script.rs: the numbers of the calls and of the words in their arguments; the sizes of the page. */
#include "words.h"

/* One call, and what it did. As `Record` in page.rs. */
struct record {
	int32_t call;
	int32_t arg[ARGUMENTS];
	uint32_t length;
	char said[SAID];
};

/* A thread that takes steps. As `Actor` in page.rs. */
struct actor {
	_Atomic uint32_t go;      /* raised by the conductor: records first..last are to be done */
	_Atomic uint32_t first, last;
	_Atomic uint32_t started; /* equals go: the call is about to be made */
	_Atomic uint32_t done;    /* equals go: all of them are done */
	_Atomic uint32_t pid, tid;
	_Atomic uint32_t handled; /* signals */
};

struct page {
	_Atomic uint32_t bell; /* raised by actors, for the conductor */
	_Atomic uint32_t port[2];
	uint32_t unused;
	struct actor actor[ACTORS];
	/* What each process has in its slots. */
	int32_t slot[PROCESSES][SLOTS];
	/* How far each stream is written and read: by end of connection, of its sender and of its receiver. */
	_Atomic uint64_t written[ENDS], taken[ENDS];
	struct record record[RECORDS];
};

extern struct page *page;
/* Of this thread: its number and its process' row of slots. */
extern __thread int self;
extern int32_t *slots;
extern int listeners[2];

__attribute__((format(printf, 1, 2))) void say(const char *format, ...);
void say_result(long result);
/* A call of the script: it succeeds and leaves errno alone, or fails. */
#define UNTOUCHED 12345
#define TRY(call)                                                                                                      \
	({                                                                                                             \
		errno = UNTOUCHED;                                                                                     \
		long result_ = (long)(call);                                                                           \
		say_result(result_);                                                                                   \
		result_;                                                                                               \
	})
const char *error_name(int error);
unsigned char *buffer(void); /* of this thread; BUFFER bytes */
/* Bytes of stream `end` from `offset` on. */
void fill(unsigned char *to, size_t length, int end, uint64_t offset);
/* Says whether they are. */
void say_bytes(const unsigned char *bytes, size_t length, int end, uint64_t offset);
void announce(void);
void waits(long us);
/* Whether `truth` became true before it was given up. */
#define SETTLES(truth)                                                                                                 \
	({                                                                                                             \
		bool good_ = false;                                                                                    \
		for (int look_ = 0; look_ < 12000 && !(good_ = (truth)); look_++)                                      \
			waits(look_ < 50 ? 20 : 200);                                                                  \
		good_;                                                                                                 \
	})

void do_connect(const int32_t *arg);
void do_accept(const int32_t *arg);
void do_send(const int32_t *arg);
void do_recv(const int32_t *arg);
void do_trips(const int32_t *arg, bool leads);
void do_pump(const int32_t *arg);
void do_fill(const int32_t *arg);
void do_drain(const int32_t *arg);
void do_poll(const int32_t *arg);
void do_set(const int32_t *arg);
void do_control(const int32_t *arg);
void do_wait(const int32_t *arg);
void do_small(int call, const int32_t *arg);
