/* A line with a peer at its end, in virtual time: send(), recv(), poll() and clock_gettime() of the client
 * are replaced by those of this file (the linker's --wrap), so that a test decides what is lost and late,
 * takes no time, and goes the same way each time. The peer answers as sluice does: an ACK for what each
 * partition has of a datagram, when that is durable. */
#ifndef VIRTUAL_LINE_H
#define VIRTUAL_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINE_EVENTS_MAX 20000
#define LINE_PARTITIONS 4
#define LINE_EVENT_MAX 200
#define MS 1000000ull

enum line_way { LINE_THERE, LINE_BACK };

struct virtual_line {
	unsigned loss_percent[2];
	uint64_t delay_ns;		     /* each way */
	unsigned late_percent;		     /* each way: */
	uint64_t late_ns;		     /* later by up to so much */
	unsigned twice_percent;		     /* each way */
	unsigned partitions;		     /* sequence % partitions; 0: one */
	uint64_t commit_ns[LINE_PARTITIONS]; /* until an event is durable */
	uint64_t datagram_ns;		     /* there: what a datagram takes of a bottleneck */
	unsigned queue_max;		     /* datagrams that wait for it; more are lost */
	bool cut;			     /* nothing arrives */
	unsigned refuse_every;
	/* asked for each datagram there; true: lost */
	bool (*lose)(uint64_t first, unsigned count);

	uint64_t now_ns, random;
	uint64_t datagrams, lost[2], answers;
	uint64_t highest, arrived_again; /* events */
	uint8_t arrived[LINE_EVENTS_MAX + 1];
};

extern struct virtual_line line;

/* As when a program starts: nothing is under way. */
void line_reset(uint64_t seed);

/* The i-th event, from 1 on: at least 40 bytes, of different sizes. */
size_t line_event(uint64_t i, char out[LINE_EVENT_MAX]);

/* Whether events 1 to count have arrived, as they are. */
bool line_has_all(uint64_t count);

#endif
