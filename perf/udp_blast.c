/* Sends prepared datagrams at a rate, cheaply: sendmmsg of up to 64, one socket. For scripts that measure
 * receivers.
 *
 * usage: udp_blast FILE HOST PORT RATE COUNT     FILE: datagrams, each with its length before it (16 bits,
 * little endian); they are sent over and over until COUNT are out. Prints sent=N seconds=S late=S (the most
 * that it was behind its schedule) cpu=S (of this process). */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench_util.h"

#define BURST 64u

struct blast {
	const uint8_t *data;
	size_t bytes, at;
	int fd;
};

static void die(const char *what)
{
	fprintf(stderr, "udp_blast: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void file_map(struct blast *b, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat s;
	void *p;

	if (fd < 0 || fstat(fd, &s) != 0 || s.st_size < 2)
		die(path);
	p = mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	if (p == MAP_FAILED)
		die(path);
	b->data = p;
	b->bytes = (size_t)s.st_size;
	close(fd);
}

static struct iovec next_datagram(struct blast *b)
{
	uint16_t bytes;

	if (b->at + 2 > b->bytes)
		b->at = 0;
	memcpy(&bytes, b->data + b->at, 2);
	if (b->at + 2 + bytes > b->bytes) {
		errno = EBADMSG;
		die("the file is cut");
	}
	b->at += 2u + bytes;
	return (struct iovec){(void *)(uintptr_t)(b->data + b->at - bytes), bytes};
}

static void send_burst(struct blast *b, uint32_t count)
{
	struct mmsghdr msg[BURST] = {0};
	struct iovec iov[BURST];

	for (uint32_t i = 0; i < count; i++) {
		iov[i] = next_datagram(b);
		msg[i].msg_hdr.msg_iov = &iov[i];
		msg[i].msg_hdr.msg_iovlen = 1;
	}
	for (uint32_t done = 0; done < count;) {
		int n = sendmmsg(b->fd, msg + done, count - done, 0);

		if (n > 0)
			done += (uint32_t)n;
		else if (errno == EAGAIN || errno == ENOBUFS)
			(void)poll(NULL, 0, 1);
		else if (errno != ECONNREFUSED && errno != EINTR)
			die("sendmmsg");
	}
}

int main(int argc, char **argv)
{
	struct blast b = {0};
	struct sockaddr_in to = {.sin_family = AF_INET};
	uint64_t rate, count, sent = 0, start, late = 0;
	struct rusage used = {0};
	int size = 8 << 20;

	if (argc != 6 || inet_pton(AF_INET, argv[2], &to.sin_addr) != 1) {
		fprintf(stderr, "usage: udp_blast FILE HOST PORT RATE COUNT\n");
		return 2;
	}
	to.sin_port = htons((uint16_t)strtoul(argv[3], NULL, 10));
	rate = strtoull(argv[4], NULL, 10);
	count = strtoull(argv[5], NULL, 10);
	file_map(&b, argv[1]);
	b.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (b.fd < 0 || connect(b.fd, (struct sockaddr *)&to, sizeof to) != 0)
		die(argv[2]);
	(void)setsockopt(b.fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	start = bench_now_ns();
	while (sent < count) {
		uint64_t due = start + sent * 1000000000ull / rate, now = bench_now_ns();
		uint32_t n = count - sent < BURST ? (uint32_t)(count - sent) : BURST;

		if (now < due) {
			struct timespec t = {
				(time_t)((due - now) / 1000000000u), (long)((due - now) % 1000000000u)};

			nanosleep(&t, NULL);
		} else if (now - due > late) {
			late = now - due;
		}
		send_burst(&b, n);
		sent += n;
	}
	(void)getrusage(RUSAGE_SELF, &used);
	printf("sent=%llu seconds=%.3f late=%.3f cpu=%.3f\n", (unsigned long long)sent,
		(double)(bench_now_ns() - start) / 1e9, (double)late / 1e9,
		(double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
			(double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
	return 0;
}
