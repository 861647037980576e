/* What every case shares: the page, the two processes, the transcript. The page's layout is repeated in
 * differential/page.rs. */
#include "case.h"
#include <stdarg.h>
#include <stddef.h>

enum { FLAGS = 64, WARMS = 1024, TEXT = 1 << 18 };
enum { DEADLINE_MS = 20000 };

struct page {
	uint32_t magic;
	/* Set by the runner before the start. */
	uint32_t trips;    /* round trips of warm() before it asks */
	uint32_t ask;      /* warm() waits for the runner's answer */
	uint32_t bare;     /* 1: alice, 2: bob runs without the shim */
	_Atomic uint32_t pid[2];
	_Atomic int32_t status[2];
	_Atomic uint32_t seq[2];
	_Atomic uint32_t port[2]; /* bob's listeners: IPv4, IPv6 */
	_Atomic uint32_t flag[FLAGS];
	_Atomic int64_t word[FLAGS];
	_Atomic uint32_t warms;
	struct {
		uint32_t local, remote;  /* ports of the connector */
		_Atomic uint32_t asked;  /* 1: look at it */
		_Atomic uint32_t answer; /* 1: go on */
	} warm[WARMS];
	_Atomic uint32_t length[2];
	char text[2][TEXT];
};

static struct page *page;
bool is_alice;

/* --- the transcript --- */

static void append(const char *text, size_t length)
{
	uint32_t at = atomic_fetch_add(&page->length[!is_alice], length);
	if (at + length <= TEXT)
		memcpy(page->text[!is_alice] + at, text, length);
}

void say(const char *format, ...)
{
	int error = errno;
	char line[2048];
	va_list list;
	va_start(list, format);
	int length = vsnprintf(line, sizeof line - 1, format, list);
	va_end(list);
	if (length > (int)sizeof line - 2)
		length = sizeof line - 2;
	line[length] = '\n';
	append(line, length + 1);
	errno = error;
}

const char *errno_name(int error)
{
	const char *name = strerrorname_np(error);
	return name ? name : "?";
}

void say_result(const char *call, long result, int error)
{
	if (result < 0)
		say("%s = %s", call, errno_name(error));
	else if (error != UNTOUCHED)
		say("%s = %ld, errno touched: %s", call, result, errno_name(error));
	else
		say("%s = %ld", call, result);
}

void fail(const char *what, const char *file, int line)
{
	int error = errno;
	say("FAILED %s:%d: %s (%s)", file, line, what, errno_name(error));
	fprintf(stderr, "%s: %s:%d: %s (%s)\n", is_alice ? "alice" : "bob", file, line, what, errno_name(error));
	_exit(99);
}

uint64_t hash(const void *bytes, size_t length)
{
	const unsigned char *at = bytes;
	uint64_t sum = 0xcbf29ce484222325;
	while (length--)
		sum = (sum ^ *at++) * 0x100000001b3;
	return sum;
}

void say_bytes(const char *what, const void *bytes, long length)
{
	if (length < 0)
		say("%s: %s", what, errno_name(errno));
	else
		say("%s: %ld bytes, hash %016lx", what, length, hash(bytes, length));
}

struct name {
	uint32_t bit;
	const char *name;
};

static void say_names(const char *what, uint32_t bits, const struct name *names)
{
	char line[256] = "";
	for (; names->name; names++)
		if (bits & names->bit) {
			strcat(line, " ");
			strcat(line, names->name);
			bits &= ~names->bit;
		}
	if (bits)
		say("%s:%s and %#x", what, line, bits);
	else
		say("%s:%s", what, *line ? line : " nothing");
}

void say_poll(const char *what, short revents)
{
	static const struct name names[] = {{POLLIN, "IN"},         {POLLPRI, "PRI"},       {POLLOUT, "OUT"},
					    {POLLRDHUP, "RDHUP"},   {POLLERR, "ERR"},       {POLLHUP, "HUP"},
					    {POLLNVAL, "NVAL"},     {POLLRDNORM, "RDNORM"}, {POLLRDBAND, "RDBAND"},
					    {POLLWRNORM, "WRNORM"}, {POLLWRBAND, "WRBAND"}, {0, NULL}};
	say_names(what, (unsigned short)revents, names);
}

void say_epoll(const char *what, uint32_t events)
{
	static const struct name names[] = {{EPOLLIN, "IN"},         {EPOLLPRI, "PRI"},       {EPOLLOUT, "OUT"},
					    {EPOLLRDHUP, "RDHUP"},   {EPOLLERR, "ERR"},       {EPOLLHUP, "HUP"},
					    {EPOLLRDNORM, "RDNORM"}, {EPOLLRDBAND, "RDBAND"}, {EPOLLWRNORM, "WRNORM"},
					    {EPOLLWRBAND, "WRBAND"}, {0, NULL}};
	say_names(what, events, names);
}

void say_status(const char *what, int status)
{
	if (WIFEXITED(status))
		say("%s: exited %d", what, WEXITSTATUS(status));
	else if (WIFSIGNALED(status))
		say("%s: killed by %s", what, sigabbrev_np(WTERMSIG(status)));
	else
		say("%s: status %#x", what, status);
}

long now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void nap_ms(long ms)
{
	struct timespec rest = {ms / 1000, ms % 1000 * 1000000};
	while (nanosleep(&rest, &rest) && errno == EINTR)
		;
}

void say_time(const char *what, long start, long least)
{
	long took = now_ms() - start;
	/* now_ms() rounds down; the kernel's own timers never fire early. */
	if (took + 1 < least)
		say("%s: too early", what);
	else if (took > least + 10000)
		say("%s: much too late", what);
	else
		say("%s: in time", what);
}

static int by_data(const void *a, const void *b)
{
	const struct epoll_event *x = a, *y = b;
	return (x->data.u64 > y->data.u64) - (x->data.u64 < y->data.u64);
}

int say_events(const char *what, int set, int timeout)
{
	struct epoll_event events[16];
	errno = UNTOUCHED;
	int found = epoll_wait(set, events, 16, timeout);
	if (found < 0 || errno != UNTOUCHED) {
		say_result(what, found, errno);
		return found;
	}
	say("%s: %d events", what, found);
	qsort(events, found, sizeof *events, by_data);
	for (int i = 0; i < found; i++) {
		char line[32];
		snprintf(line, sizeof line, "  %lu", (unsigned long)events[i].data.u64);
		say_epoll(line, events[i].events);
	}
	return found;
}

void watch(int set, int operation, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event event = {.events = events, .data.u64 = data};
	MUST(epoll_ctl(set, operation, fd, &event));
}

/* --- the other end --- */

static void brief_nap(void)
{
	struct timespec rest = {0, 100000};
	nanosleep(&rest, NULL);
}

#define UNTIL(truth)                                                                                                   \
	do {                                                                                                           \
		int saved_ = errno;                                                                                    \
		for (long start_ = now_ms(); !(truth);) {                                                              \
			if (now_ms() - start_ > DEADLINE_MS)                                                           \
				fail("in vain: " #truth, __FILE__, __LINE__);                                          \
			brief_nap();                                                                                   \
		}                                                                                                      \
		errno = saved_;                                                                                        \
	} while (0)

void meet(void)
{
	uint32_t mine = atomic_fetch_add(&page->seq[!is_alice], 1) + 1;
	UNTIL(atomic_load(&page->seq[is_alice]) >= mine);
}

void post(int flag)
{
	atomic_store(&page->flag[flag], 1);
}

bool posted(int flag)
{
	return atomic_load(&page->flag[flag]);
}

void await(int flag)
{
	UNTIL(posted(flag));
}

void give(int word, long value)
{
	atomic_store(&page->word[word], value);
}

long take(int word)
{
	return atomic_load(&page->word[word]);
}

pid_t peer_pid(void)
{
	UNTIL(atomic_load(&page->pid[is_alice]));
	return atomic_load(&page->pid[is_alice]);
}

/* --- connections --- */

static int listening[2] = {-1, -1};

static int listen_on(int index, int family, const void *address, socklen_t length)
{
	if (listening[index] < 0) {
		listening[index] = MUST(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
		MUST(bind(listening[index], address, length));
		MUST(listen(listening[index], 128));
		struct sockaddr_in6 bound; /* the port is at the same place in both families */
		socklen_t size = sizeof bound;
		MUST(getsockname(listening[index], (void *)&bound, &size));
		atomic_store(&page->port[index], ntohs(bound.sin6_port));
	}
	return listening[index];
}

int listener(void)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	return listen_on(0, AF_INET, &any, sizeof any);
}

int listener6(void)
{
	/* Dual stack: reached as ::1 and as 127.0.0.1. */
	struct sockaddr_in6 any = {.sin6_family = AF_INET6};
	return listen_on(1, AF_INET6, &any, sizeof any);
}

struct sockaddr_in bob_address(void)
{
	UNTIL(atomic_load(&page->port[0]));
	return (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				    .sin_port = htons(atomic_load(&page->port[0]))};
}

struct sockaddr_in6 bob_address6(void)
{
	UNTIL(atomic_load(&page->port[1]));
	return (struct sockaddr_in6){.sin6_family = AF_INET6,
				     .sin6_addr = IN6ADDR_LOOPBACK_INIT,
				     .sin6_port = htons(atomic_load(&page->port[1]))};
}

int joined(void)
{
	if (!is_alice)
		return MUST(accept4(listener(), NULL, NULL, SOCK_CLOEXEC));
	struct sockaddr_in address = bob_address();
	int fd = MUST(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	MUST(connect(fd, (void *)&address, sizeof address));
	return fd;
}

int pair_up(void)
{
	int fd = joined();
	warm(fd);
	return fd;
}

int broken_pair(void)
{
	int fd = pair_up();
	if (is_alice) {
		send_all(fd, "unread", 6);
		meet();
		meet();
		settle_reset(fd);
		return fd;
	}
	send_all(fd, "0123456789", 10);
	settle_readable(fd, 6);
	meet();
	MUST(close(fd));
	meet();
	return -1;
}

int socket_error(int fd)
{
	int error = -1;
	socklen_t size = sizeof error;
	MUST(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size));
	return error;
}

enum { TRIP = 64 };

static bool lead(int fd, bool *asked, uint32_t *slot, uint32_t trip)
{
	/* Returns whether this is the last trip. */
	if (trip < page->trips)
		return false;
	if (!page->ask)
		return true;
	if (!*asked) {
		struct sockaddr_in6 local, remote;
		socklen_t size = sizeof local;
		MUST(getsockname(fd, (void *)&local, &size));
		size = sizeof remote;
		MUST(getpeername(fd, (void *)&remote, &size));
		*slot = atomic_fetch_add(&page->warms, 1);
		CHECK(*slot < WARMS);
		page->warm[*slot].local = ntohs(local.sin6_port);
		page->warm[*slot].remote = ntohs(remote.sin6_port);
		atomic_store(&page->warm[*slot].asked, 1);
		*asked = true;
	}
	brief_nap();
	return atomic_load(&page->warm[*slot].answer);
}

void warm_as(int fd, bool leader)
{
	unsigned char message[TRIP] = "";
	bool asked = false, last = false;
	uint32_t slot = 0, trips = 0;
	if (!page->trips && !page->ask)
		return;
	while (!last) {
		if (leader) {
			last = lead(fd, &asked, &slot, trips++);
			memset(message, last ? 's' : 'p', TRIP);
			send_all(fd, message, TRIP);
			recv_all(fd, message, TRIP);
		} else {
			recv_all(fd, message, TRIP);
			send_all(fd, message, TRIP);
			last = message[0] == 's';
		}
		CHECK(message[0] == message[TRIP - 1]);
	}
}

void warm(int fd)
{
	warm_as(fd, is_alice);
}

void warm_self(int connected, int accepted)
{
	unsigned char message[TRIP] = "";
	bool asked = false, last = false;
	uint32_t slot = 0, trips = 0;
	while (!last) {
		last = lead(connected, &asked, &slot, trips++);
		send_all(connected, message, TRIP);
		recv_all(accepted, message, TRIP);
		send_all(accepted, message, TRIP);
		recv_all(connected, message, TRIP);
	}
}

void trickle(int fd)
{
	unsigned char message[TRIP] = "";
	for (int trip = 0; trip < 300; trip++)
		if (is_alice) {
			send_all(fd, message, TRIP);
			recv_all(fd, message, TRIP);
		} else {
			recv_all(fd, message, TRIP);
			send_all(fd, message, TRIP);
		}
}

void say_rest(int fd)
{
	char buffer[4096];
	uint64_t sum = 0xcbf29ce484222325;
	long total = 0, got;
	while ((got = recv(fd, buffer, sizeof buffer, 0)) > 0) {
		total += got;
		for (long i = 0; i < got; i++)
			sum = (sum ^ (unsigned char)buffer[i]) * 0x100000001b3;
	}
	say("rest: %ld bytes, hash %016lx, then %s", total, sum, got ? errno_name(errno) : "end");
}

void hand_out(int to, int fd)
{
	char byte = 'x', room[CMSG_SPACE(sizeof fd)] = "";
	struct iovec part = {&byte, 1};
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);
	*head = (struct cmsghdr){CMSG_LEN(sizeof fd), SOL_SOCKET, SCM_RIGHTS};
	memcpy(CMSG_DATA(head), &fd, sizeof fd);
	CHECK(sendmsg(to, &message, 0) == 1);
}

int take_in(int from)
{
	int fd;
	char byte, room[CMSG_SPACE(sizeof fd)] = "";
	struct iovec part = {&byte, 1};
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
	CHECK(recvmsg(from, &message, MSG_CMSG_CLOEXEC) == 1);
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
	return fd;
}

/* --- bytes --- */

static unsigned char byte_of(uint32_t tag, size_t offset)
{
	uint64_t x = (offset >> 3) * 0x9e3779b97f4a7c15 + tag * 0xbf58476d1ce4e5b9ull + 1;
	x ^= x >> 29;
	x *= 0x94d049bb133111eb;
	return x >> (8 * (offset & 7));
}

void fill(void *buffer, size_t length, uint32_t tag, size_t offset)
{
	unsigned char *at = buffer;
	for (size_t i = 0; i < length; i++)
		at[i] = byte_of(tag, offset + i);
}

bool is_fill(const void *buffer, size_t length, uint32_t tag, size_t offset)
{
	const unsigned char *at = buffer;
	for (size_t i = 0; i < length; i++)
		if (at[i] != byte_of(tag, offset + i))
			return false;
	return true;
}

void send_all(int fd, const void *buffer, size_t length)
{
	for (size_t done = 0; done < length;)
		done += MUST(send(fd, (const char *)buffer + done, length - done, MSG_NOSIGNAL));
}

void recv_all(int fd, void *buffer, size_t length)
{
	for (size_t done = 0; done < length;) {
		long got = MUST(recv(fd, (char *)buffer + done, length - done, 0));
		CHECK(got > 0);
		done += got;
	}
}

void settle_readable(int fd, int n)
{
	int there = 0;
	UNTIL(MUST(ioctl(fd, FIONREAD, &there)) == 0 && there >= n);
}

static short poll_now(int fd)
{
	struct pollfd one = {fd, POLLIN | POLLRDHUP, 0};
	MUST(poll(&one, 1, 0));
	return one.revents;
}

void settle_fin(int fd)
{
	UNTIL(poll_now(fd) & (POLLRDHUP | POLLHUP));
}

void settle_reset(int fd)
{
	UNTIL(poll_now(fd) & (POLLERR | POLLHUP));
}

void settle_sent(int fd)
{
	int there = 1;
	UNTIL(MUST(ioctl(fd, SIOCOUTQ, &there)) == 0 && there == 0);
}

void settle_events(int set, int n)
{
	struct epoll_event events[16];
	UNTIL(epoll_wait(set, events, 16, 0) >= n);
}

void settle_asleep(pid_t tid)
{
	/* Asleep at 20 looks in a row, a millisecond apart: longer than any spin. */
	char path[64], line[512];
	snprintf(path, sizeof path, "/proc/%d/stat", tid);
	long start = now_ms();
	for (int calm = 0; calm < 20; calm++) {
		FILE *file = fopen(path, "r");
		CHECK(file && fgets(line, sizeof line, file));
		fclose(file);
		const char *state = strrchr(line, ')');
		if (state[2] != 'S')
			calm = 0;
		CHECK(now_ms() - start < DEADLINE_MS);
		nap_ms(1);
	}
}

void set_nonblocking(int fd, bool on)
{
	int flags = MUST(fcntl(fd, F_GETFL));
	MUST(fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK));
}

void on_signal(int number, void (*handler)(int), int flags)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
	MUST(sigaction(number, &action, NULL));
}

_Atomic pid_t taker;

void note_taker(int number)
{
	(void)number;
	taker = gettid();
}

pthread_t thread(void *(*body)(void *), void *argument)
{
	pthread_t made;
	CHECK(pthread_create(&made, NULL, body, argument) == 0);
	return made;
}

/* --- the two processes --- */

void pin_to(int cpu)
{
	cpu_set_t one;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	MUST(sched_setaffinity(0, sizeof one, &one));
}

static char *program;

void exec_again(int fd, bool bare)
{
	char number[16];
	snprintf(number, sizeof number, "%d", fd);
	MUST(fcntl(fd, F_SETFD, 0));
	if (bare)
		unsetenv("LD_PRELOAD");
	execl(program, program, is_alice ? "alice" : "bob", number, NULL);
	fail("exec", __FILE__, __LINE__);
}

static void map_page(const char *path)
{
	int fd = MUST(open(path, O_RDWR | O_CLOEXEC));
	page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(page != MAP_FAILED && page->magic == 0x43415345);
	MUST(close(fd));
}

static pid_t start(const char *role)
{
	pid_t pid = MUST(fork());
	if (!pid) {
		if (page->bare == (strcmp(role, "alice") ? 2 : 1))
			unsetenv("LD_PRELOAD");
		execl(program, program, role, NULL);
		_exit(98);
	}
	return pid;
}

/* Plays the runner for a case started by hand: `LD_PRELOAD=… cases/NAME`. */
static void by_hand(void)
{
	char path[] = "/tmp/slipstream-case-XXXXXX";
	int fd = MUST(mkstemp(path));
	MUST(ftruncate(fd, sizeof *page));
	static struct page head = {.magic = 0x43415345, .trips = 300, .ask = 1};
	MUST(pwrite(fd, &head, offsetof(struct page, pid), 0));
	setenv("CASE_PAGE", path, 1);
	pid_t runner = MUST(fork());
	if (!runner) {
		map_page(path);
		for (uint32_t i = 0; getppid() != 1; nap_ms(10))
			for (i = 0; i < atomic_load(&page->warms); i++)
				if (atomic_load(&page->warm[i].asked) && !page->warm[i].answer) {
					nap_ms(300);
					page->warm[i].answer = 1;
				}
		_exit(0);
	}
	pid_t ends = MUST(fork());
	if (!ends) {
		execl(program, program, "both", NULL);
		_exit(98);
	}
	waitpid(ends, NULL, 0);
	kill(runner, SIGKILL);
	map_page(path);
	for (int i = 0; i < 2; i++)
		printf("== %s\n%.*sstatus %d\n", i ? "bob" : "alice", (int)page->length[i], page->text[i],
		       page->status[i]);
	unlink(path);
}

int main(int argc, char **argv)
{
	program = argv[0];
	if (argc < 2) {
		by_hand();
		return 0;
	}
	map_page(getenv("CASE_PAGE"));
	if (!strcmp(argv[1], "both")) {
		pid_t ends[2] = {start("alice"), start("bob")};
		for (int i = 0; i < 2; i++) {
			int status;
			pid_t ended = MUST(wait(&status));
			atomic_store(&page->status[ended == ends[1]], status);
		}
		return 0;
	}
	/* Say nothing of the role in argv[0]: the status shows it. */
	is_alice = !strcmp(argv[1], "alice");
	atomic_store(&page->pid[!is_alice], getpid());
	if (argc > 2) {
		/* The image after an exec of the case itself: argv[2] is the descriptor that it kept. */
		extern void again(int fd) __attribute__((weak));
		CHECK(again);
		again(atoi(argv[2]));
		return 0;
	}
	if (is_alice)
		alice();
	else {
		listener();
		bob();
	}
	return 0;
}
