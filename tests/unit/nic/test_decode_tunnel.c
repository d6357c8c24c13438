/* Tunnels: each kind taken off, each refusal, with fragments within and around, and every frame counted once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "decap.h"
#include "decode.h"
#include "nic_frames.h"

#define PAYLOAD 300u
#define ANY (DECAP_VXLAN | DECAP_GRE | DECAP_ERSPAN)

static struct decode_ports ports;
static struct decoder d;
static uint64_t drops[DROP_ID_MAX];
static struct decode_stats stats;
static uint64_t frames;
static uint8_t f[FRAME_MAX], inner[FRAME_MAX];
static uint32_t inner_bytes;

static int start(void **state)
{
	(void)state;
	memset(drops, 0, sizeof drops);
	memset(&stats, 0, sizeof stats);
	frames = 0;
	if (decoder_setup(&d, &(struct decoder_wish){&ports, drops, &stats, 8, 1000}))
		return -1;
	decode_tick(&d, 1);
	d.decap = ANY;
	return 0;
}

static int stop(void **state)
{
	(void)state;
	decoder_free(&d);
	return 0;
}

/* What the frame in f ends as; a datagram must be the inner one. */
static enum drop_reason take(uint32_t bytes, uint32_t cut, uint64_t ol_flags)
{
	struct rte_mbuf *m = frame_mbuf(f, bytes, cut);
	uint64_t before[DROP_ID_MAX], held = stats.fragments_held, joined = stats.fragments_joined;
	uint32_t next = 0, head = inner[12] == 0x08 ? 42 : 62, n;
	enum drop_reason why = DECODE_WAITS;
	struct datagram dg;

	memcpy(before, drops, sizeof before);
	m->ol_flags = ol_flags;
	n = decode_burst(&d, &m, 1, &next, &dg);
	if (n) {
		assert_int_equal(dg.bytes, inner_bytes - head);
		assert_memory_equal(dg.payload, inner + head, dg.bytes);
		if (head == 62)
			assert_memory_equal(dg.src_addr, inner + 22, 16);
		else
			assert_memory_equal(dg.src_addr + 12, inner + 26, 4);
		why = DROP_NONE;
	}
	frame_mbuf_free(m);
	frames++;
	for (int i = 1; i < DROP_ID_MAX; i++)
		if (drops[i] != before[i]) {
			assert_int_equal(drops[i], before[i] + 1);
			assert_int_equal(why, DECODE_WAITS);
			why = (enum drop_reason)i;
		}
	assert_int_equal(
		stats.fragments_held + stats.fragments_joined, held + joined + (why == DECODE_WAITS));
	return why;
}

static uint32_t inner_make(int family)
{
	inner_bytes = family == 4 ? frame4(inner, PAYLOAD) : frame6(inner, PAYLOAD);
	return inner_bytes;
}

/* Puts an outer Ethernet and IP header, and `head`, before n bytes of what; 192.0.2.9 and fe..09 are outer.
 */
static uint32_t wrap(
	int family, uint8_t protocol, const void *head, uint32_t head_bytes, const uint8_t *what, uint32_t n)
{
	uint32_t ip = family == 4 ? 34 : 54;

	memset(f, 9, ip);
	if (family == 4) {
		static const uint8_t h[20] = {
			0x45, 0, 0, 0, 0, 9, 0, 0, 64, 0, 0, 0, 192, 0, 2, 9, 192, 0, 2, 8};

		frame_put16(f + 12, 0x0800);
		memcpy(f + 14, h, sizeof h);
		f[23] = protocol;
		frame_put16(f + 16, 20 + head_bytes + n);
		frame_sum_ipv4(f + 14);
	} else {
		frame_put16(f + 12, 0x86dd);
		frame_put32(f + 14, 0x60000000);
		frame_put16(f + 18, head_bytes + n);
		f[20] = protocol;
	}
	memcpy(f + ip, head, head_bytes);
	memcpy(f + ip + head_bytes, what, n);
	return ip + head_bytes + n;
}

static uint32_t vxlan(int family, uint32_t vni, const uint8_t *what, uint32_t n)
{
	uint8_t h[16] = {0xc0, 1, 0x12, 0xb5, 0, 0, 0, 0, 0x08};

	frame_put16(h + 4, 16 + n);
	frame_put32(h + 12, vni << 8);
	return wrap(family, 17, h, sizeof h, what, n);
}

static void test_vxlan(void **state)
{
	uint8_t tags[4] = {0x81, 0, 0, 5};
	uint32_t bytes, n;

	(void)state;
	for (int outer = 4; outer <= 6; outer += 2)
		for (int family = 4; family <= 6; family += 2) {
			uint32_t udp = outer == 4 ? 34 : 54;

			bytes = vxlan(outer, 77, inner, inner_make(family));
			assert_int_equal(take(bytes, 0, 0), DROP_NONE);
			assert_int_equal(take(bytes, 50, 0), DROP_NONE);
			frame_put16(f + udp + 6, frame_checksum(f + udp, bytes - udp,
							 frame_checksum(f + (outer == 4 ? 26 : 22),
								 outer == 4 ? 8 : 32, 17 + bytes - udp) ^
								 0xffffu));
			assert_int_equal(take(bytes, 0, 0), DROP_NONE);
			f[udp + 6] ^= 1;
			assert_int_equal(take(bytes, 0, 0), DROP_bad_udp_checksum);
			assert_int_equal(take(bytes, 0, RTE_MBUF_F_RX_L4_CKSUM_GOOD), DROP_NONE);
			frame_put16(f + udp + 6, 0);
			assert_int_equal(take(bytes, 0, RTE_MBUF_F_RX_L4_CKSUM_BAD), DROP_bad_udp_checksum);
			f[bytes - 1] ^= 1; /* the port's word is not taken for what is within */
			assert_int_equal(take(bytes, 0, RTE_MBUF_F_RX_L4_CKSUM_GOOD), DROP_bad_udp_checksum);
			f[bytes - 1] ^= 1;
			f[udp + 8] = 0;
			assert_int_equal(take(bytes, 0, 0), DROP_bad_tunnel);
			d.decap = ANY & ~DECAP_VXLAN;
			assert_int_equal(take(bytes, 0, 0), DROP_no_listener);
			d.decap = ANY;
		}
	n = inner_make(4);
	n = frame_insert(inner, frame_insert(inner, n, 12, tags, 4), 12, tags, 4);
	bytes = vxlan(4, 1, inner, n);
	memmove(inner + 12, inner + 20, n - 20);
	bytes = frame_insert(f, frame_insert(f, bytes, 12, tags, 4), 12, tags, 4);
	assert_int_equal(take(bytes, 0, 0), DROP_NONE); /* two tags, and within again two */
	assert_true(stats.decapsulated > 8);
}

static void test_vxlan_cut(void **state)
{
	uint32_t bytes = vxlan(4, 77, inner, inner_make(6));

	(void)state;
	for (uint32_t n = 0; n < bytes - 42; n++) {
		frame_put16(f + 16, 28 + n);
		frame_put16(f + 38, 8 + n);
		frame_sum_ipv4(f + 14);
		assert_int_equal(take(bytes, 0, 0), n < 8	 ? DROP_bad_tunnel
						    : n < 8 + 14 ? DROP_bad_l2
								 : DROP_bad_l3);
	}
}

struct gre_case {
	uint16_t flags, type;
	uint32_t skip; /* of the inner frame: 14 = IP only */
	const char *more;
	uint32_t more_bytes;
	uint32_t need; /* DECAP_* */
};

static const struct gre_case gre_case[] = {
	{0, 0x6558, 0, "", 0, DECAP_GRE},
	{0x2000, 0x6558, 0, "\0\0\0\7", 4, DECAP_GRE},
	{0x3000, 0x6558, 0, "\0\0\0\7\0\0\0\1", 8, DECAP_GRE},
	{0x8000, 0x6558, 0, "\0\0\0\0", 4, DECAP_GRE},
	{0xb000, 0x6558, 0, "\0\0\0\0\0\0\0\7\0\0\0\1", 12, DECAP_GRE},
	{0, 0, 14, "", 0, DECAP_GRE}, /* IP: its ethertype */
	{0xa000, 0, 14, "\0\0\0\0\0\0\0\7", 8, DECAP_GRE},
	{0, 0x88be, 0, "", 0, DECAP_ERSPAN},
	{0x1000, 0x88be, 0, "\0\0\0\1\x10\x64\0\5\0\0\0\1", 12, DECAP_ERSPAN},
	{0x1000, 0x22eb, 0, "\0\0\0\1\x20\x64\0\5\1\2\3\4\0\0\0\0", 16, DECAP_ERSPAN},
	{0x1000, 0x22eb, 0, "\0\0\0\1\x20\x64\0\5\1\2\3\4\0\0\x80\xf9PLATFORM", 24, DECAP_ERSPAN},
	{0x1000, 0x22eb, 14, "\0\0\0\1\x20\x64\0\5\1\2\3\4\0\0\x08\0", 16, DECAP_ERSPAN},
};

static uint32_t gre(int outer, const struct gre_case *g)
{
	uint8_t h[64];
	uint32_t bytes, at = outer == 4 ? 34 : 54;

	frame_put16(h, g->flags);
	frame_put16(h + 2, g->type ? g->type : (uint32_t)inner[12] << 8 | inner[13]);
	memcpy(h + 4, g->more, g->more_bytes);
	bytes = wrap(outer, 47, h, 4 + g->more_bytes, inner + g->skip, inner_bytes - g->skip);
	if (g->flags & 0x8000)
		frame_put16(f + at + 4, frame_checksum(f + at, bytes - at, 0));
	return bytes;
}

static void test_gre(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < sizeof gre_case / sizeof *gre_case; i++)
		for (int k = 0; k < 4; k++) {
			int outer = k & 1 ? 4 : 6;
			uint32_t at = outer == 4 ? 34 : 54, bytes;

			inner_make(k & 2 ? 4 : 6);
			bytes = gre(outer, &gre_case[i]);
			assert_int_equal(take(bytes, 0, 0), DROP_NONE);
			assert_int_equal(take(bytes, 100, 0), DROP_NONE);
			d.decap = gre_case[i].need;
			assert_int_equal(take(bytes, 0, 0), DROP_NONE);
			d.decap = ANY & ~gre_case[i].need;
			assert_int_equal(take(bytes, 0, 0), DROP_not_udp);
			d.decap = 0;
			assert_int_equal(take(bytes, 0, 0), DROP_not_udp);
			d.decap = ANY;
			f[at] |= 0x40; /* routing */
			assert_int_equal(take(bytes, 0, 0), DROP_bad_tunnel);
			f[at] &= (uint8_t)~0x40;
			f[at + 1] |= 1; /* version 1 */
			assert_int_equal(take(bytes, 0, 0), DROP_bad_tunnel);
			f[at + 1] &= (uint8_t)~1;
			if (gre_case[i].flags & 0x8000) {
				f[at + 4] ^= 1;
				assert_int_equal(take(bytes, 0, 0), DROP_bad_tunnel);
			}
		}
}

static void test_gre_refused(void **state)
{
	uint32_t bytes;

	(void)state;
	inner_make(4);
	for (uint32_t i = 0; i < sizeof gre_case / sizeof *gre_case; i++)
		for (uint32_t n = 0; n < 4 + gre_case[i].more_bytes; n++) { /* each cut of the header */
			bytes = gre(4, &gre_case[i]);
			frame_put16(f + 16, 20 + n);
			frame_sum_ipv4(f + 14);
			assert_int_equal(take(bytes, 0, 0), DROP_bad_tunnel);
		}
	bytes = gre(4, &gre_case[8]);
	f[42] = 0x20; /* type II of another version */
	assert_int_equal(take(bytes, 0, 0), DROP_bad_tunnel);
	bytes = gre(4, &gre_case[9]);
	f[42] = 0x10;
	assert_int_equal(take(bytes, 0, 0), DROP_bad_tunnel);
	bytes = gre(4, &gre_case[9]);
	f[52] = 0x04; /* neither Ethernet nor IP */
	assert_int_equal(take(bytes, 0, 0), DROP_bad_tunnel);
	bytes = gre(4, &gre_case[0]);
	frame_put16(f + 36, 0x880b); /* PPP */
	assert_int_equal(take(bytes, 0, 0), DROP_not_udp);
}

static void test_one_level(void **state)
{
	static uint8_t twice[4000];
	uint32_t bytes = vxlan(4, 1, inner, inner_make(4));

	(void)state;
	memcpy(twice, f, bytes);
	bytes = vxlan(4, 2, twice, bytes);
	assert_int_equal(take(bytes, 0, 0), DROP_no_listener);
	bytes = gre(4, &gre_case[0]);
	memcpy(twice, f, bytes);
	bytes = vxlan(4, 2, twice, bytes);
	assert_int_equal(take(bytes, 0, 0), DROP_not_udp);
}

/* Sends the frame in f as IPv4 fragments of 96 bytes; the last one's end. */
static enum drop_reason take_cut(uint32_t bytes, uint16_t id)
{
	static uint8_t all[FRAME_MAX];
	enum drop_reason why = DROP_NONE;

	memcpy(all, f, bytes);
	for (uint32_t from = 0; from < bytes - 34; from += 96) {
		uint32_t n = bytes - 34 - from < 96 ? bytes - 34 - from : 96;

		assert_int_equal(why, from ? DECODE_WAITS : DROP_NONE);
		memcpy(f, all, 34);
		frame_put16(f + 16, 20 + n);
		frame_put16(f + 18, id);
		frame_put16(f + 20, from / 8 | (from + n < bytes - 34 ? 0x2000 : 0));
		frame_sum_ipv4(f + 14);
		memcpy(f + 34, all + 34 + from, n);
		why = take(34 + n, 0, 0);
	}
	return why;
}

/* The two halves of the inner frame, as frames of their own. */
static uint32_t half(uint8_t *out, int second)
{
	memcpy(out, inner, 34);
	frame_put16(out + 16, 20 + (second ? inner_bytes - 34 - 160 : 160));
	frame_put16(out + 20, second ? 20 : 0x2000);
	frame_sum_ipv4(out + 14);
	memcpy(out + 34, inner + 34 + second * 160, second ? inner_bytes - 34 - 160 : 160);
	return second ? inner_bytes - 160 : 194;
}

static void test_fragments(void **state)
{
	uint8_t part[2][600];
	uint32_t bytes[2];

	(void)state;
	assert_int_equal(take_cut(vxlan(4, 1, inner, inner_make(4)), 1), DROP_NONE);
	assert_int_equal(take_cut(gre(4, &gre_case[9]), 2), DROP_NONE);
	inner_make(4);
	for (int i = 0; i < 2; i++)
		bytes[i] = half(part[i], i);
	assert_int_equal(take(vxlan(4, 1, part[0], bytes[0]), 0, 0), DECODE_WAITS);
	assert_int_equal(take(vxlan(4, 2, part[1], bytes[1]), 0, 0), DECODE_WAITS); /* another network */
	assert_int_equal(take(vxlan(6, 1, part[1], bytes[1]), 0, 0), DROP_NONE);
	assert_int_equal(take(vxlan(4, 2, part[0], bytes[0]), 0, 0), DROP_NONE);
	assert_int_equal(take_cut(vxlan(4, 3, part[0], bytes[0]), 3), DECODE_WAITS);
	assert_int_equal(take_cut(vxlan(4, 3, part[1], bytes[1]), 4), DROP_NONE); /* within and around */
	decode_end(&d);
	assert_int_equal(stats.fragments_held, 0);
	assert_int_equal(drops[DROP_fragment_timeout], 0);
	assert_int_equal(frames, 5 + stats.fragments_joined);
}

static void test_words(void **state)
{
	struct err err;
	uint32_t bits;

	(void)state;
	assert_int_equal(decap_from_text(&bits, "", &err), 0);
	assert_int_equal(bits, 0);
	assert_int_equal(decap_from_text(&bits, "none", &err), 0);
	assert_int_equal(bits, 0);
	assert_int_equal(decap_from_text(&bits, "any", &err), 0);
	assert_int_equal(bits, ANY);
	assert_int_equal(decap_from_text(&bits, "vxlan, erspan", &err), 0);
	assert_int_equal(bits, DECAP_VXLAN | DECAP_ERSPAN);
	assert_int_not_equal(decap_from_text(&bits, "vxlan,grey", &err), 0);
	assert_non_null(strstr(err.text, "'grey' is no tunnel"));
	assert_int_not_equal(decap_from_text(&bits, "gre,", &err), 0);
	assert_int_not_equal(decap_from_text(&bits, ",gre", &err), 0);
	assert_int_not_equal(decap_from_text(&bits, "gr", &err), 0);
	assert_int_not_equal(decap_from_text(&bits, "gre vxlan", &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_vxlan, start, stop),
		cmocka_unit_test_setup_teardown(test_vxlan_cut, start, stop),
		cmocka_unit_test_setup_teardown(test_gre, start, stop),
		cmocka_unit_test_setup_teardown(test_gre_refused, start, stop),
		cmocka_unit_test_setup_teardown(test_one_level, start, stop),
		cmocka_unit_test_setup_teardown(test_fragments, start, stop), cmocka_unit_test(test_words)};

	ports.listener_of[FRAME_PORT] = 4;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
