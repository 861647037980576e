/* An io_uring made by raw system instructions, as liburing makes it: what it reads and writes must still be there. */
#include "case.h"
#include "raw.h"
#include <linux/io_uring.h>

static struct io_uring_params params;
static char *queue;
static struct io_uring_sqe *entries;

static void make(int *ring)
{
	*ring = raw(SYS_io_uring_setup, 4, (long)&params, 0, 0);
	if (*ring < 0)
		return;
	CHECK(params.features & IORING_FEAT_SINGLE_MMAP);
	size_t size = params.sq_off.array + params.sq_entries * sizeof(unsigned);
	size_t other = params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe);
	size = size > other ? size : other;
	queue = mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED, *ring, IORING_OFF_SQ_RING);
	entries = mmap(0, params.sq_entries * sizeof *entries, PROT_READ | PROT_WRITE, MAP_SHARED, *ring, IORING_OFF_SQES);
	CHECK(queue != MAP_FAILED && entries != MAP_FAILED);
}

/* One operation, and its result. */
static int perform(int ring, int operation, int fd, void *buffer, unsigned length)
{
	_Atomic unsigned *tail = (void *)(queue + params.sq_off.tail), *head = (void *)(queue + params.cq_off.head);
	unsigned mask = *(unsigned *)(queue + params.sq_off.ring_mask), at = *tail & mask;
	entries[at] = (struct io_uring_sqe){.opcode = operation, .fd = fd, .addr = (uintptr_t)buffer, .len = length};
	((unsigned *)(queue + params.sq_off.array))[at] = at;
	atomic_fetch_add(tail, 1);
	CHECK(raw(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS) == 1);
	struct io_uring_cqe *done = (void *)(queue + params.cq_off.cqes);
	int result = done[*head & *(unsigned *)(queue + params.cq_off.ring_mask)].res;
	atomic_fetch_add(head, 1);
	return result;
}

static char in[100];

void alice(void)
{
	int fd = joined(), ring;
	make(&ring);
	trickle(fd);
	for (int i = 0; i < 3; i++) {
		meet();
		/* Where there is no io_uring to be had, by plain calls: nothing is promised then. */
		say("got %d", ring < 0 ? (int)recv(fd, in, 10, MSG_WAITALL) : perform(ring, IORING_OP_RECV, fd, in, sizeof in));
		say("put %d", ring < 0 ? (int)send(fd, in, 10, 0) : perform(ring, IORING_OP_SEND, fd, in, 10));
	}
	meet();
}

void bob(void)
{
	int fd = joined();
	trickle(fd);
	for (int i = 0; i < 3; i++) {
		meet();
		TRY(send(fd, "0123456789", 10, 0));
		TRY(recv(fd, in, 10, MSG_WAITALL));
	}
	meet();
}
