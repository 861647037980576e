/* Connections and what passes over them. */
#include "runner.h"

void do_connect(const int32_t *arg)
{
	int listener = arg[1], nonblock = arg[3], on = 1;
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	if (arg[2] == FAMILIES_mapped)
		inet_pton(AF_INET6, "::ffff:127.0.0.1", &six.sin6_addr);
	four.sin_port = six.sin6_port = htons(page->port[listener]);
	bool is_four = arg[2] == FAMILIES_v4;
	int fd = socket(is_four ? AF_INET : AF_INET6, SOCK_STREAM | (nonblock ? SOCK_NONBLOCK : 0), 0);
	setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
	/* Nagle's delays are 40 ms each. */
	if (!arg[4])
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	struct sockaddr *address = is_four ? (void *)&four : (void *)&six;
	socklen_t size = is_four ? sizeof four : sizeof six;
	slots[arg[0]] = fd;
	if (TRY(connect(fd, address, size)) < 0 && errno == EINPROGRESS) {
		struct pollfd one = {fd, POLLOUT, 0};
		int error = -1;
		socklen_t length = sizeof error;
		poll(&one, 1, 5000);
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
		say(", then %#x %s", one.revents, error ? error_name(error) : "connected");
		TRY(connect(fd, address, size));
	}
}

void do_accept(const int32_t *arg)
{
	struct sockaddr_in6 peer;
	socklen_t size = sizeof peer;
	int flags = arg[2], on = 1;
	errno = UNTOUCHED;
	int fd = arg[3] == ACCEPTS_accept ? accept(listeners[arg[1]], (void *)&peer, &size)
					  : accept4(listeners[arg[1]], (void *)&peer, &size, flags);
	if (fd < 0 || errno != UNTOUCHED) {
		say_result(fd < 0 ? -1 : 0);
		if (fd < 0)
			return;
	}
	say(" family %d, %u bytes:%s%s", peer.sin6_family, size, fcntl(fd, F_GETFL) & O_NONBLOCK ? " nonblock" : "",
	    fcntl(fd, F_GETFD) & FD_CLOEXEC ? " cloexec" : "");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	slots[arg[0]] = fd;
}

/* Halves, the first one the smaller, so that both sides of an odd size are seen. */
static void split(struct iovec *parts, unsigned char *bytes, size_t size)
{
	parts[0] = (struct iovec){bytes, size / 2};
	parts[1] = (struct iovec){bytes + size / 2, size - size / 2};
}

static int file_with(const unsigned char *bytes, size_t size)
{
	int file = memfd_create("script", MFD_CLOEXEC);
	if (write(file, bytes, size) != (ssize_t)size || lseek(file, 0, SEEK_SET))
		say(" [no file]");
	return file;
}

static long sent(int fd, unsigned char *bytes, size_t size, int flags, int out)
{
	struct iovec parts[2];
	split(parts, bytes, size);
	struct mmsghdr many[2] = {{.msg_hdr = {.msg_iov = &parts[0], .msg_iovlen = 1}},
				  {.msg_hdr = {.msg_iov = &parts[1], .msg_iovlen = 1}}};
	struct msghdr one = {.msg_iov = parts, .msg_iovlen = 2};
	switch (out) {
	case OUTS_write:
		return TRY(write(fd, bytes, size));
	case OUTS_writev:
		return TRY(writev(fd, parts, 2));
	case OUTS_pwritev2:
		return TRY(pwritev2(fd, parts, 2, -1, 0));
	case OUTS_sendto:
		return TRY(sendto(fd, bytes, size, flags, NULL, 0));
	case OUTS_sendmsg:
		return TRY(sendmsg(fd, &one, flags));
	case OUTS_sendmmsg: {
		long count = TRY(sendmmsg(fd, many, 2, flags)), total = count < 0 ? -1 : 0;
		for (int i = 0; i < count; i++) {
			say(" %u", many[i].msg_len);
			total += many[i].msg_len;
		}
		return total;
	}
	case OUTS_sendfile: {
		int file = file_with(bytes, size);
		long count = TRY(sendfile(fd, file, NULL, size));
		close(file);
		return count;
	}
	case OUTS_splice: {
		int ends[2];
		if (pipe(ends) < 0 || write(ends[1], bytes, size) != (ssize_t)size)
			say(" [no pipe]");
		close(ends[1]);
		long count = TRY(splice(ends[0], NULL, fd, NULL, size, 0));
		close(ends[0]);
		return count;
	}
	default:
		return TRY(send(fd, bytes, size, flags));
	}
}

void do_send(const int32_t *arg)
{
	int end = arg[7];
	size_t size = arg[1];
	fill(buffer(), size, end, page->written[end]);
	long count = sent(slots[arg[0]], buffer(), size, arg[2], arg[3]);
	if (count > 0)
		page->written[end] += count;
}

static long received(int fd, unsigned char *bytes, size_t size, int flags, int into)
{
	struct iovec parts[2];
	split(parts, bytes, size);
	struct mmsghdr many[2] = {{.msg_hdr = {.msg_iov = &parts[0], .msg_iovlen = 1}},
				  {.msg_hdr = {.msg_iov = &parts[1], .msg_iovlen = 1}}};
	struct msghdr one = {.msg_iov = parts, .msg_iovlen = 2};
	switch (into) {
	case INTOS_read:
		return TRY(read(fd, bytes, size));
	case INTOS_readv:
		return TRY(readv(fd, parts, 2));
	case INTOS_preadv2:
		return TRY(preadv2(fd, parts, 2, -1, 0));
	case INTOS_recvfrom: {
		struct sockaddr_in6 name;
		socklen_t length = sizeof name;
		long count = TRY(recvfrom(fd, bytes, size, flags, (void *)&name, &length));
		if (count >= 0)
			say(" from %u", length);
		return count;
	}
	case INTOS_recvmsg: {
		long count = TRY(recvmsg(fd, &one, flags));
		if (count >= 0)
			say(" flags %#x", one.msg_flags);
		return count;
	}
	case INTOS_recvmmsg: {
		long count = TRY(recvmmsg(fd, many, 2, flags | MSG_WAITFORONE, NULL)), total = count < 0 ? -1 : 0;
		/* Each message is received anew: with MSG_PEEK both see the same bytes. */
		for (int i = 0; i < count; i++) {
			say(" %u", many[i].msg_len);
			if (i == 0 || !(flags & MSG_PEEK))
				total += many[i].msg_len;
		}
		return total;
	}
	case INTOS_splice: {
		int ends[2];
		if (pipe(ends) < 0)
			say(" [no pipe]");
		fcntl(ends[1], F_SETPIPE_SZ, 1 << 18);
		long count = TRY(splice(fd, NULL, ends[1], NULL, size, flags & MSG_DONTWAIT ? SPLICE_F_NONBLOCK : 0));
		if (count > 0 && read(ends[0], bytes, count) != count)
			say(" [not in the pipe]");
		close(ends[0]);
		close(ends[1]);
		return count;
	}
	default:
		return TRY(recv(fd, bytes, size, flags));
	}
}

void do_recv(const int32_t *arg)
{
	int end = arg[7] ^ 1, flags = arg[2];
	memset(buffer(), 0x5a, arg[1] < 64 ? arg[1] : 64);
	long count = received(slots[arg[0]], buffer(), arg[1], flags, arg[3]);
	if (count <= 0)
		return;
	if (!(flags & MSG_TRUNC))
		say_bytes(buffer(), count, end, page->taken[end]);
	if (!(flags & MSG_PEEK))
		page->taken[end] += count;
}

/* --- several calls in one step, where only their sum is said --- */

static bool all_sent(int fd, size_t size, int end)
{
	fill(buffer(), size, end, page->written[end]);
	for (size_t done = 0; done < size;) {
		long count = send(fd, buffer() + done, size - done, MSG_NOSIGNAL);
		if (count < 0 && errno == EAGAIN) {
			struct pollfd one = {fd, POLLOUT, 0};
			poll(&one, 1, -1);
			continue;
		}
		if (count < 0) {
			say(" %s", error_name(errno));
			return false;
		}
		done += count;
		page->written[end] += count;
	}
	return true;
}

static bool all_received(int fd, size_t size, int end)
{
	for (size_t done = 0; done < size;) {
		long count = recv(fd, buffer(), size - done < BUFFER ? size - done : BUFFER, 0);
		if (count < 0 && errno == EAGAIN) {
			struct pollfd one = {fd, POLLIN, 0};
			poll(&one, 1, -1);
			continue;
		}
		if (count <= 0) {
			say(" %s after %zu", count ? error_name(errno) : "end", done);
			return false;
		}
		say_bytes(buffer(), count, end, page->taken[end]);
		done += count;
		page->taken[end] += count;
	}
	return true;
}

void do_trips(const int32_t *arg, bool leads)
{
	int fd = slots[arg[0]], end = arg[7];
	for (int i = 0; i < arg[2]; i++) {
		if (leads && !all_sent(fd, arg[1], end))
			return;
		if (!all_received(fd, arg[1], end ^ 1))
			return;
		if (!leads && !all_sent(fd, arg[1], end))
			return;
	}
	say(" %d trips", arg[2]);
}

struct pump {
	int fd, end;
	size_t out, in, chunk;
};

/* Each moves what it can without blocking; false: it gave up. */
static bool pushed(struct pump *pump)
{
	while (pump->out) {
		size_t size = pump->out < pump->chunk ? pump->out : pump->chunk;
		fill(buffer(), size, pump->end, page->written[pump->end]);
		long count = send(pump->fd, buffer(), size, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (count < 0 && errno == EAGAIN)
			return true;
		if (count < 0) {
			say(" %s", error_name(errno));
			return false;
		}
		pump->out -= count;
		page->written[pump->end] += count;
	}
	return true;
}

static bool pulled(struct pump *pump)
{
	while (pump->in) {
		size_t size = pump->in < pump->chunk ? pump->in : pump->chunk;
		long count = recv(pump->fd, buffer(), size, MSG_DONTWAIT);
		if (count < 0 && errno == EAGAIN)
			return true;
		if (count <= 0) {
			say(" %s", count ? error_name(errno) : "end");
			return false;
		}
		say_bytes(buffer(), count, pump->end ^ 1, page->taken[pump->end ^ 1]);
		pump->in -= count;
		page->taken[pump->end ^ 1] += count;
	}
	return true;
}

static bool pump_sleeps(struct pump *pump, int form, int set)
{
	bool in = pump->in, out = pump->out;
	struct epoll_event event = {.events = EPOLLIN * in | EPOLLOUT * out};
	switch (form) {
	case PUMPS_select: {
		fd_set reads, writes;
		FD_ZERO(&reads);
		FD_ZERO(&writes);
		if (in)
			FD_SET(pump->fd, &reads);
		if (out)
			FD_SET(pump->fd, &writes);
		return select(pump->fd + 1, &reads, &writes, NULL, NULL) > 0;
	}
	case PUMPS_level:
		epoll_ctl(set, EPOLL_CTL_MOD, pump->fd, &event);
		return epoll_wait(set, &event, 1, -1) > 0;
	case PUMPS_edge:
		return epoll_wait(set, &event, 1, -1) > 0;
	default: {
		struct pollfd one = {pump->fd, POLLIN * in | POLLOUT * out, 0};
		return poll(&one, 1, -1) > 0;
	}
	}
}

void do_pump(const int32_t *arg)
{
	struct pump pump = {slots[arg[0]], arg[7], arg[1], arg[2], arg[3]};
	int set = -1;
	if (arg[4] == PUMPS_level || arg[4] == PUMPS_edge) {
		struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | (arg[4] == PUMPS_edge ? EPOLLET : 0)};
		set = epoll_create1(EPOLL_CLOEXEC);
		epoll_ctl(set, EPOLL_CTL_ADD, pump.fd, &event);
	}
	bool good = true;
	if (arg[4] == PUMPS_blocking) {
		/* One way first: bob, who accepted, reads first. */
		for (int turn = 0; turn < 2 && good; turn++)
			if (turn == (pump.end & 1))
				for (; pump.out && good; pump.out -= pump.out < pump.chunk ? pump.out : pump.chunk)
					good = all_sent(pump.fd, pump.out < pump.chunk ? pump.out : pump.chunk, pump.end);
			else
				for (; pump.in && good; pump.in -= pump.in < pump.chunk ? pump.in : pump.chunk)
					good = all_received(pump.fd, pump.in < pump.chunk ? pump.in : pump.chunk,
							    pump.end ^ 1);
	} else {
		while ((good = pushed(&pump) && pulled(&pump)) && (pump.in || pump.out))
			pump_sleeps(&pump, arg[4], set);
	}
	if (set >= 0)
		close(set);
	say(" out %d, in %d%s", arg[1], arg[2], good ? "" : ", but not all");
}

/* Writes without blocking until nothing more is taken; how much that is is the carrier's own. */
void do_fill(const int32_t *arg)
{
	int fd = slots[arg[0]], end = arg[7], quiet = 0, rounds = 0;
	struct pollfd one = {fd, POLLOUT, 0};
	/* The kernel may find some more room for a while. */
	while (quiet < 20 || (poll(&one, 1, 0) > 0 && rounds++ < 100)) {
		fill(buffer(), arg[1], end, page->written[end]);
		long count = send(fd, buffer(), arg[1], MSG_DONTWAIT | MSG_NOSIGNAL);
		if (count > 0) {
			page->written[end] += count;
			quiet = 0;
		} else if (count < 0 && errno == EAGAIN) {
			/* The kernel moves bytes on for a moment after it said so. */
			quiet++;
			waits(500);
		} else {
			say(" %s", error_name(errno));
			return;
		}
	}
	say(" full: %d", poll(&one, 1, 0));
}

/* Reads until all that was written is taken. */
void do_drain(const int32_t *arg)
{
	int end = arg[7] ^ 1;
	if (all_received(slots[arg[0]], page->written[end] - page->taken[end], end))
		say(" drained");
}
