/* Chunks of GELF put together. Worker thread. */
#include "gelf_chunks.h"

#include <string.h>

#include "drops.h"
#include "hash_process.h"

#define CHECK_EVERY_NS 10000000ull

static void chunks_drop(struct gelf_chunks *c, uint8_t listener, enum drop_reason why, uint32_t chunks)
{
	c->counts[listener].dropped[why] += chunks;
	c->drops[why] += chunks;
}

static void message_drop(struct gelf_chunks *c, struct gelf_message *m, enum drop_reason why)
{
	*c->counts[m->listener].waiting -= m->waiting;
	chunks_drop(c, m->listener, why, m->waiting);
	m->waiting = 0;
}

static void message_end(struct gelf_chunks *c, struct gelf_message *m)
{
	m->count = 0;
	c->messages--;
}

static uint8_t *message_data(const struct gelf_chunks *c, const struct gelf_message *m)
{
	return c->data + (uint64_t)(m - c->message) * EVENT_BYTES_MAX;
}

/* A place for a message that has none. */
static struct gelf_message *message_open(struct gelf_chunks *c, struct gelf_message *set, uint64_t now_ns)
{
	struct gelf_message *m = set;

	for (uint32_t i = 0; i < GELF_WAYS && m->count; i++)
		if (!set[i].count || set[i].end_ns < m->end_ns)
			m = &set[i];
	if (m->count) {
		message_drop(c, m, DROP_chunk_table_full);
		message_end(c, m);
	}
	memset(m, 0, sizeof *m);
	m->end_ns = now_ns + GELF_CHUNKS_TIMEOUT_NS;
	if (!c->messages++)
		c->check_ns = m->end_ns;
	return m;
}

static struct gelf_message *message_of(struct gelf_chunks *c, uint8_t listener, const uint8_t addr[16],
	uint16_t port, const uint8_t *data, uint64_t now_ns)
{
	uint64_t hash = hash_keyed(&hash_process_key, addr, 16) + listener;
	struct gelf_message *set = &c->message[(hash & (c->sets - 1)) * GELF_WAYS], *m;

	for (uint32_t i = 0; i < GELF_WAYS; i++) {
		m = &set[i];
		if (m->count && !memcmp(m->id, data + 2, sizeof m->id) && m->port == port &&
			m->listener == listener && !memcmp(m->addr, addr, sizeof m->addr))
			return m;
	}
	m = message_open(c, set, now_ns);
	memcpy(m->addr, addr, sizeof m->addr);
	memcpy(m->id, data + 2, sizeof m->id);
	m->port = port;
	m->listener = listener;
	m->count = data[11];
	return m;
}

/* False: the chunk was dropped, or the message is too long. */
static bool chunk_keep(
	struct gelf_chunks *c, struct gelf_message *m, uint8_t index, const uint8_t *piece, uint32_t bytes)
{
	uint64_t bit = 1ull << (index % 64), *have = &m->have[index / 64];

	if (*have & bit) {
		chunks_drop(c, m->listener, DROP_chunk_duplicate, 1);
		return false;
	}
	*have |= bit;
	m->seen++;
	if (m->too_long || bytes > EVENT_BYTES_MAX - m->bytes) {
		m->too_long = true;
		message_drop(c, m, DROP_chunk_too_long);
		chunks_drop(c, m->listener, DROP_chunk_too_long, 1);
		return false;
	}
	memcpy(message_data(c, m) + m->bytes, piece, bytes);
	m->at[index] = (uint16_t)m->bytes;
	m->length[index] = (uint16_t)bytes;
	m->bytes += bytes;
	m->waiting++;
	++*c->counts[m->listener].waiting;
	return true;
}

bool gelf_chunk_take(struct gelf_chunks *c, uint8_t listener, const uint8_t addr[16], uint16_t port,
	const uint8_t *data, uint32_t bytes, uint64_t now_ns, uint8_t to[EVENT_BYTES_MAX], uint32_t *to_bytes)
{
	struct gelf_message *m;
	bool kept;

	if (bytes <= GELF_CHUNK_HEADER_BYTES || data[11] > GELF_CHUNKS_MAX || data[10] >= data[11]) {
		chunks_drop(c, listener, DROP_bad_chunk, 1);
		return false;
	}
	m = message_of(c, listener, addr, port, data, now_ns);
	if (m->count != data[11]) {
		chunks_drop(c, listener, DROP_bad_chunk, 1);
		return false;
	}
	kept = chunk_keep(c, m, data[10], data + GELF_CHUNK_HEADER_BYTES, bytes - GELF_CHUNK_HEADER_BYTES);
	if (m->seen < m->count)
		return false;
	if (kept) {
		*to_bytes = 0;
		for (uint32_t i = 0; i < m->count; i++) {
			memcpy(to + *to_bytes, message_data(c, m) + m->at[i], m->length[i]);
			*to_bytes += m->length[i];
		}
		*c->counts[listener].waiting -= m->waiting;
		*c->counts[listener].read += m->waiting;
	}
	message_end(c, m);
	return kept;
}

void gelf_chunks_expire(struct gelf_chunks *c, uint64_t now_ns, bool all)
{
	uint64_t next_ns = UINT64_MAX;

	if (!c->messages || (now_ns < c->check_ns && !all))
		return;
	for (uint32_t i = 0; i < c->sets * GELF_WAYS; i++) {
		struct gelf_message *m = &c->message[i];

		if (m->count && (all || m->end_ns <= now_ns)) {
			message_drop(c, m, DROP_chunk_timeout);
			message_end(c, m);
		} else if (m->count && m->end_ns < next_ns) {
			next_ns = m->end_ns;
		}
	}
	/* Not at every one's end: a flood of first chunks must not make every burst look at all. */
	c->check_ns = next_ns > now_ns + CHECK_EVERY_NS ? next_ns : now_ns + CHECK_EVERY_NS;
}
