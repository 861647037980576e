/* The processes, their threads, and the calls that are small. */
#include "runner.h"

struct page *page;
__thread int self;
int32_t *slots;
int listeners[2];

static __thread struct record *record;
static __thread unsigned char *bytes;
static __thread volatile sig_atomic_t pipes, signals[2];
static char *program, *page_path;

/* --- what a call did --- */

void say(const char *format, ...)
{
	va_list list;
	va_start(list, format);
	int length = vsnprintf(record->said + record->length, SAID - record->length, format, list);
	va_end(list);
	record->length += length;
	if (record->length >= SAID)
		record->length = SAID - 1;
}

const char *error_name(int error)
{
	const char *name = strerrorname_np(error);
	return name ? name : "?";
}

void say_result(long result)
{
	int error = errno;
	if (result < 0)
		say(" %s", error_name(error));
	else
		say(" %ld", result);
	if (result >= 0 && error != UNTOUCHED)
		say(" (errno touched: %s)", error_name(error));
	errno = error;
}

static void on_signal(int number)
{
	if (number == SIGPIPE)
		pipes++;
	else {
		signals[number == SIGUSR2]++;
		page->actor[self].handled++;
	}
}

static void say_signals(void)
{
	while (pipes) {
		say(" +PIPE");
		pipes--;
	}
	for (int i = 0; i < 2; i++)
		while (signals[i]) {
			say(" +USR%d", i + 1);
			signals[i]--;
		}
}

/* --- bytes --- */

/* A stream's bytes repeat after a prime number of them, so that no power of two is a period. */
enum { PERIOD = 65521 };
static unsigned char pattern[2 * PERIOD];

static void make_pattern(void)
{
	uint64_t x = 0x9e3779b97f4a7c15;
	for (int i = 0; i < PERIOD; i++) {
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		pattern[i] = pattern[i + PERIOD] = x >> 32;
	}
}

unsigned char *buffer(void)
{
	return bytes;
}

void fill(unsigned char *to, size_t length, int end, uint64_t offset)
{
	while (length) {
		size_t from = (offset + end * 7919) % PERIOD, part = length < PERIOD ? length : PERIOD;
		memcpy(to, pattern + from, part);
		to += part, offset += part, length -= part;
	}
}

void say_bytes(const unsigned char *at, size_t length, int end, uint64_t offset)
{
	for (size_t i = 0; i < length; i++)
		if (at[i] != pattern[(offset + i + end * 7919) % PERIOD]) {
			say(" wrong from %zu on", i);
			return;
		}
}

/* --- the small calls --- */

static void do_dup(const int32_t *arg)
{
	int from = slots[arg[0]], to = slots[arg[1]], made = -1;
	/* Onto what is in the slot, or onto a number of the slot's own. */
	int onto = to >= 0 ? to : 200 + arg[1];
	errno = UNTOUCHED;
	switch (arg[2]) {
	case DUPS_dup:
		made = dup(from);
		break;
	case DUPS_dup2:
		made = dup2(from, onto);
		break;
	case DUPS_dup3:
		made = dup3(from, onto, O_CLOEXEC);
		break;
	case DUPS_dupfd:
		made = fcntl(from, F_DUPFD, 100);
		break;
	case DUPS_dupfd_cloexec:
		made = fcntl(from, F_DUPFD_CLOEXEC, 100);
		break;
	case DUPS_dupfd64:
		made = fcntl64(from, F_DUPFD, 100);
	}
	say_result(made < 0 ? -1 : 0);
	if (made >= 0)
		slots[arg[1]] = made;
}

static void do_option(const int32_t *arg)
{
	int fd = slots[arg[0]], on = arg[2];
	switch (arg[1]) {
	case OPTIONS_nodelay:
		TRY(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
		break;
	case OPTIONS_cork:
		TRY(setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof on));
		break;
	case OPTIONS_keepalive:
		TRY(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on));
		break;
	case OPTIONS_quickack:
		TRY(setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on));
		break;
	case OPTIONS_linger: {
		struct linger linger = {on, 0};
		TRY(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
		break;
	}
	case OPTIONS_timeout: {
		struct timeval time = {on / 1000, on % 1000 * 1000};
		TRY(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time));
		break;
	}
	case OPTIONS_lowat:
		TRY(setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &on, sizeof on));
	}
}

static void do_ask(const int32_t *arg)
{
	int fd = slots[arg[0]], value = -1;
	socklen_t size = sizeof value;
	switch (arg[1]) {
	case QUESTIONS_fionread:
		if (TRY(ioctl(fd, FIONREAD, &value)) == 0)
			say(": %d", value);
		break;
	case QUESTIONS_outq:
		/* When all is quiet, all is acknowledged, read or not. */
		if (!SETTLES(ioctl(fd, SIOCOUTQ, &value) < 0 || value == 0))
			say(" never 0 but %d", value);
		break;
	case QUESTIONS_error:
		if (TRY(getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &size)) == 0)
			say(": %s", value ? error_name(value) : "none");
		break;
	case QUESTIONS_flags:
		value = TRY(fcntl(fd, F_GETFL));
		say(":%s%s", value & O_NONBLOCK ? " nonblock" : "", fcntl(fd, F_GETFD) & FD_CLOEXEC ? " cloexec" : "");
		break;
	case QUESTIONS_names: {
		struct sockaddr_in6 name;
		size = sizeof name;
		if (TRY(getpeername(fd, (void *)&name, &size)) == 0)
			say(": family %d, %u bytes", name.sin6_family, size);
	}
	}
}

void do_small(int call, const int32_t *arg)
{
	int on = arg[1];
	switch (call) {
	case CALL_shutdown:
		TRY(shutdown(slots[arg[0]], arg[1]));
		break;
	case CALL_close: {
		unsigned fd = slots[arg[0]];
		slots[arg[0]] = -1;
		TRY(arg[1] == CLOSES_close ? close(fd) : close_range(fd, fd, 0));
		break;
	}
	case CALL_dup:
		do_dup(arg);
		break;
	case CALL_nonblock:
		if (arg[2] == SWITCHES_fionbio) {
			TRY(ioctl(slots[arg[0]], FIONBIO, &on));
		} else if (arg[2] == SWITCHES_fcntl64) {
			int flags = fcntl64(slots[arg[0]], F_GETFL);
			TRY(fcntl64(slots[arg[0]], F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK));
		} else {
			int flags = fcntl(slots[arg[0]], F_GETFL);
			TRY(fcntl(slots[arg[0]], F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK));
		}
		break;
	case CALL_option:
		do_option(arg);
		break;
	case CALL_ask:
		do_ask(arg);
		break;
	case CALL_nap:
		waits(arg[0]);
	}
}

/* --- quiet: what other processes did has arrived --- */

static void settle_data(const int32_t *arg)
{
	int there = -1;
	if (!SETTLES(ioctl(slots[arg[0]], FIONREAD, &there) < 0 || there >= arg[1]))
		say(" [unsettled: %d of %d bytes]", there, arg[1]);
}

/* The kernel's own word: the end of a moved connection is TCP's, too. */
static int tcp_state(int fd)
{
	struct tcp_info info = {0};
	socklen_t size = sizeof info;
	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0 ? TCP_CLOSE : info.tcpi_state;
}

static void settle_end(const int32_t *arg)
{
	int fd = slots[arg[0]], state = 0;
	bool reset = arg[1];
	bool good = SETTLES((state = tcp_state(fd)) == TCP_CLOSE ||
			    (!reset && (state == TCP_CLOSE_WAIT || state == TCP_LAST_ACK || state == TCP_CLOSING ||
					state == TCP_TIME_WAIT)));
	if (!good)
		say(" [no %s: state %d]", reset ? "reset" : "fin", state);
}

/* --- processes --- */

static void become(int actor, int process)
{
	self = actor;
	slots = page->slot[process];
	page->actor[actor].pid = getpid();
	page->actor[actor].tid = gettid();
	if (!bytes)
		bytes = malloc(BUFFER);
}

static void futex_wake(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

static void play(void) __attribute__((noreturn));

static void do_fork(const int32_t *arg)
{
	int child = arg[0], process = child - FIRST_CHILD + 2;
	memcpy(page->slot[process], slots, sizeof page->slot[process]);
	page->actor[child].tid = 0;
	errno = UNTOUCHED;
	pid_t made = fork();
	if (made == 0) {
		become(child, process);
		play();
	}
	say_result(made < 0 ? -1 : 0);
	if (made > 0 && !SETTLES(page->actor[child].tid))
		say(" [the child is not there]");
}

static void finish(void)
{
	struct actor *actor = &page->actor[self];
	atomic_store(&actor->done, atomic_load(&actor->go));
	atomic_fetch_add(&page->bell, 1);
	futex_wake(&page->bell);
}

static void do_exec(const int32_t *arg)
{
	char number[16], done[16];
	snprintf(number, sizeof number, "%d", self);
	snprintf(done, sizeof done, "%d,%d", listeners[0], listeners[1]);
	if (arg[0])
		unsetenv("LD_PRELOAD");
	execl(program, program, page_path, number, done, NULL);
	say(" %s", error_name(errno));
}

/* Between two scripts: nothing is left. */
static void tidy(void)
{
	for (int i = 0; i < SLOTS; i++) {
		if (slots[i] >= 0)
			close(slots[i]);
		slots[i] = -1;
	}
	for (int i = 0; i < 2 && self == FIRST_OF_BOB; i++) {
		struct pollfd one = {listeners[i], POLLIN, 0};
		while (poll(&one, 1, 0) > 0)
			close(accept(listeners[i], NULL, NULL));
	}
}

static void perform(struct record *one)
{
	const int32_t *arg = one->arg;
	record = one;
	one->length = 0;
	*one->said = 0;
	announce();
	switch (one->call) {
	case CALL_connect:
		do_connect(arg);
		break;
	case CALL_accept:
		do_accept(arg);
		break;
	case CALL_send:
		do_send(arg);
		break;
	case CALL_recv:
		do_recv(arg);
		break;
	case CALL_lead:
	case CALL_echo:
		do_trips(arg, one->call == CALL_lead);
		break;
	case CALL_pump:
		do_pump(arg);
		break;
	case CALL_fill:
		do_fill(arg);
		break;
	case CALL_drain:
		do_drain(arg);
		break;
	case CALL_poll:
		do_poll(arg);
		break;
	case CALL_set:
		do_set(arg);
		break;
	case CALL_control:
		do_control(arg);
		break;
	case CALL_wait:
		do_wait(arg);
		break;
	case CALL_fork:
		do_fork(arg);
		break;
	case CALL_exec:
		do_exec(arg);
		break;
	case CALL_exit:
		finish();
		if (arg[0] == EXITS_exit)
			exit(0);
		_exit(0);
	case SETTLE_DATA:
		settle_data(arg);
		break;
	case SETTLE_END:
		settle_end(arg);
		break;
	case TIDY:
		tidy();
		break;
	default:
		do_small(one->call, arg);
	}
	say_signals();
}

void announce(void)
{
	struct actor *actor = &page->actor[self];
	atomic_store(&actor->started, atomic_load(&actor->go));
}

static void play(void)
{
	struct actor *actor = &page->actor[self];
	uint32_t seen = atomic_load(&actor->done);
	for (;;) {
		uint32_t go = atomic_load(&actor->go);
		if (go == seen) {
			syscall(SYS_futex, &actor->go, FUTEX_WAIT, seen, NULL, NULL, 0);
			continue;
		}
		seen = go;
		for (uint32_t i = actor->first; i < actor->last; i++)
			perform(&page->record[i]);
		finish();
	}
}

void waits(long us)
{
	int error = errno;
	struct timespec rest = {us / 1000000, us % 1000000 * 1000};
	while (nanosleep(&rest, &rest) < 0 && errno == EINTR)
		;
	errno = error;
}

static void *second(void *process)
{
	become((int)(intptr_t)process * 2 + 1, (intptr_t)process);
	play();
}

static void make_listeners(void)
{
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 any = {.sin6_family = AF_INET6};
	for (int i = 0; i < 2; i++) {
		struct sockaddr_in6 bound;
		socklen_t size = sizeof bound;
		int fd = listeners[i] = socket(i ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
		bind(fd, i ? (void *)&any : (void *)&four, i ? sizeof any : sizeof four);
		/* Loopback streams are not to be paced. */
		setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
		if (fd < 0 || listen(fd, 128) < 0 || getsockname(fd, (void *)&bound, &size) < 0)
			abort();
		page->port[i] = ntohs(bound.sin6_port);
	}
}

/* runner PAGE ACTOR [LISTENERS]: alice's or bob's process with both its threads, or the image after an exec. */
int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	program = argv[0], page_path = argv[1];
	int fd = open(page_path, O_RDWR | O_CLOEXEC), actor = atoi(argv[2]);
	page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd < 0 || page == MAP_FAILED)
		return 3;
	close(fd);
	make_pattern();
	signal(SIGCHLD, SIG_IGN);
	for (int i = 0; i < 3; i++) {
		static const int numbers[] = {SIGPIPE, SIGUSR1, SIGUSR2};
		struct sigaction action = {.sa_handler = on_signal, .sa_flags = numbers[i] == SIGUSR2 ? 0 : SA_RESTART};
		sigaction(numbers[i], &action, NULL);
	}
	if (argc > 3) {
		sscanf(argv[3], "%d,%d", &listeners[0], &listeners[1]);
		become(actor, actor - FIRST_CHILD + 2);
		record = &page->record[page->actor[actor].first];
		finish();
		play();
	}
	if (actor == FIRST_OF_BOB)
		make_listeners();
	pthread_t thread;
	if (pthread_create(&thread, NULL, second, (void *)(intptr_t)(actor / 2)))
		return 4;
	become(actor, actor / 2);
	play();
}
