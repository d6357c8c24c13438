/* io_uring rings that can do only what their owner needs: seccomp does not see operations of a ring. A ring
 * is opened disabled, set up, and limited when all is registered; from then on every other operation ends
 * with -EACCES. On kernels without it (before 5.10) a ring is as it always was. One thread. For who links
 * liburing. */
#ifndef SLUICE_RING_LIMIT_H
#define SLUICE_RING_LIMIT_H

#include <errno.h>
#include <liburing.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RING_RULES_MAX 16

/* As io_uring_queue_init(), disabled if the kernel can do that; with fewer of `flags` if it knows not all. */
static inline int ring_open(struct io_uring *ring, unsigned entries, unsigned flags)
{
	int rc = io_uring_queue_init(entries, ring, flags | IORING_SETUP_R_DISABLED);

	if (rc == -EINVAL)
		rc = io_uring_queue_init(entries, ring, IORING_SETUP_R_DISABLED);
	return rc == -EINVAL ? io_uring_queue_init(entries, ring, 0) : rc;
}

/* Limits the ring to `count`, at most RING_RULES_MAX - 2, operations, with these of the IOSQE_ flags and no
 * others, and to one register operation (IORING_REGISTER_LAST: none); then enables it. Returns 0 or -errno.
 */
static inline int ring_limit(
	struct io_uring *ring, const uint8_t *ops, unsigned count, unsigned sqe_flags, unsigned register_op)
{
	struct io_uring_restriction rule[RING_RULES_MAX] = {0};
	unsigned n = 0;

	if (!(ring->flags & IORING_SETUP_R_DISABLED))
		return 0;
	if (count + 2 > RING_RULES_MAX)
		return -E2BIG;
	for (; n < count; n++) {
		rule[n].opcode = IORING_RESTRICTION_SQE_OP;
		rule[n].sqe_op = ops[n];
	}
	rule[n].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
	rule[n++].sqe_flags = (uint8_t)sqe_flags;
	if (register_op < IORING_REGISTER_LAST) {
		rule[n].opcode = IORING_RESTRICTION_REGISTER_OP;
		rule[n++].register_op = (uint8_t)register_op;
	}
	/* By hand: the library of Debian 12 declares these two and does not export them. */
	if (syscall(__NR_io_uring_register, ring->ring_fd, IORING_REGISTER_RESTRICTIONS, rule, n) ||
		syscall(__NR_io_uring_register, ring->ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0))
		return -errno;
	ring->flags &= ~IORING_SETUP_R_DISABLED;
	return 0;
}

#endif
