/* What a port answers about itself, against bytes that another program has made; what is not exactly a
 * question, which is not answered; who claims our addresses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "decode_l2.h"
#include "neighbour.h"
#include "neighbour_stats.h"
#include "nic_frames.h"

/* 02:00:00:5e:10:02 has 192.0.2.2 and 2001:db8::2; :01 has .1 and ::1, and asks. */
static const struct neighbour_table us = {
	{2, 0, 0, 0x5e, 0x10, 2}, {2, {{[10] = 0xff, [11] = 0xff, [12] = 192, [14] = 2, [15] = 2},
					      {0x20, 0x01, 0x0d, 0xb8, [15] = 2}}}};
static const uint8_t him[6] = {2, 0, 0, 0x5e, 0x10, 1};

/* Frames of both, in hexadecimal. */
#define FRAMES(X)                                                                                            \
	X(arp_request, 60,                                                                                   \
		"ffffffffffff0200005e1001080600010800060400010200005e1001c0000201000000000000c000"           \
		"0202000000000000000000000000000000000000")                                                  \
	X(arp_reply, 60,                                                                                     \
		"0200005e10010200005e1002080600010800060400020200005e1002c00002020200005e1001c000"           \
		"0201000000000000000000000000000000000000")                                                  \
	X(arp_probe, 60,                                                                                     \
		"ffffffffffff0200005e1001080600010800060400010200005e100100000000000000000000c000"           \
		"0202000000000000000000000000000000000000")                                                  \
	X(arp_probe_reply, 60,                                                                               \
		"0200005e10010200005e1002080600010800060400020200005e1002c00002020200005e10010000"           \
		"0000000000000000000000000000000000000000")                                                  \
	X(ns, 86,                                                                                            \
		"3333ff0000020200005e100186dd6000000000203aff20010db8000000000000000000000001ff02"           \
		"00000000000000000001ff00000287000bc90000000020010db80000000000000000000000020101"           \
		"0200005e1001")                                                                              \
	X(ns_unicast, 78,                                                                                    \
		"0200005e10020200005e100186dd6000000000183aff20010db80000000000000000000000012001"           \
		"0db80000000000000000000000028700ef7c0000000020010db8000000000000000000000002")              \
	X(na, 86,                                                                                            \
		"0200005e10010200005e100286dd6000000000203aff20010db80000000000000000000000022001"           \
		"0db800000000000000000000000188007a136000000020010db80000000000000000000000020201"           \
		"0200005e1002")                                                                              \
	X(ns_dad, 78,                                                                                        \
		"3333ff0000020200005e100186dd6000000000183aff00000000000000000000000000000000ff02"           \
		"00000000000000000001ff00000287004ceb0000000020010db8000000000000000000000002")              \
	X(na_dad, 86,                                                                                        \
		"3333000000010200005e100286dd6000000000203aff20010db8000000000000000000000002ff02"           \
		"00000000000000000000000000018800e8c92000000020010db80000000000000000000000020201"           \
		"0200005e1002")                                                                              \
	X(echo4, 60,                                                                                         \
		"0200005e10020200005e1001080045000029004d000003013384c0000201c00002020800bba01234"           \
		"0007000102030405060708090a0b0c0000000000")                                                  \
	X(echo4_reply, 60,                                                                                   \
		"0200005e10010200005e1002080045000029000040004001b6d0c0000202c00002010000c3a01234"           \
		"0007000102030405060708090a0b0c0000000000")                                                  \
	X(echo6, 75,                                                                                         \
		"0200005e10020200005e100186dd6000000000153a4020010db80000000000000000000000012001"           \
		"0db80000000000000000000000028000e7db12340007000102030405060708090a0b0c")                    \
	X(echo6_reply, 75,                                                                                   \
		"0200005e10010200005e100286dd6000000000153a4020010db80000000000000000000000022001"           \
		"0db80000000000000000000000018100e6db12340007000102030405060708090a0b0c")                    \
	X(announce4, 60,                                                                                     \
		"ffffffffffff0200005e1002080600010800060400010200005e1002c0000202000000000000c000"           \
		"0202000000000000000000000000000000000000")                                                  \
	X(announce6, 86,                                                                                     \
		"3333000000010200005e100286dd6000000000203aff20010db8000000000000000000000002ff02"           \
		"00000000000000000000000000018800e8c92000000020010db80000000000000000000000020201"           \
		"0200005e1002")                                                                              \
	X(na_other, 86,                                                                                      \
		"3333000000010200005e100186dd6000000000203aff20010db8000000000000000000000002ff02"           \
		"00000000000000000000000000018800e8ca2000000020010db80000000000000000000000020201"           \
		"0200005e1001")

#define ARRAY(name, size, text) static uint8_t name[size];
FRAMES(ARRAY)

static int frames_make(void **state)
{
	static const struct {
		uint8_t *to;
		uint32_t bytes;
		const char *text;
	} row[] = {
#define ROW(name, size, text) {name, size, text},
		FRAMES(ROW)};

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		assert_int_equal(strlen(row[i].text), 2 * row[i].bytes);
		for (uint32_t k = 0; k < row[i].bytes; k++) {
			const char two[3] = {row[i].text[2 * k], row[i].text[2 * k + 1], 0};

			row[i].to[k] = (uint8_t)strtoul(two, NULL, 16);
		}
	}
	return 0;
}

static uint8_t frame[FRAME_MAX];

/* Reads a frame that lies at the end of its memory; with an answer, writes it to frame[]. */
static enum neighbour_kind ask(const uint8_t *f, uint32_t bytes, uint64_t ol_flags, uint32_t *reply_bytes)
{
	struct rte_mbuf *m = frame_mbuf(f, bytes, 0);
	uint8_t l2[DECODE_L2_MAX];
	struct neighbour_question q;
	const uint8_t *packet;
	uint32_t l2_bytes;

	m->ol_flags = ol_flags;
	m->vlan_tci = 0x6005;
	m->vlan_tci_outer = 7;
	*reply_bytes = 0;
	q.kind = NEIGHBOUR_NONE;
	l2_bytes = decode_l2(m, l2, &packet);
	if (l2_bytes &&
		neighbour_read(&us, l2, l2_bytes, packet, (uint32_t)((uint8_t *)m->buf_addr + bytes - packet),
			&q) > NEIGHBOUR_CONFLICT) {
		*reply_bytes = neighbour_reply_bytes(&q);
		memset(frame, 0xa5, *reply_bytes);
		neighbour_reply(&us, &q, frame);
	} else if (q.kind == NEIGHBOUR_CONFLICT) {
		assert_memory_equal(q.mac, him, 6);
	}
	frame_mbuf_free(m);
	return q.kind;
}

static enum neighbour_kind kind_of(const uint8_t *f, uint32_t bytes)
{
	uint32_t reply;

	return ask(f, bytes, 0, &reply);
}

static void expect_answer(const uint8_t *f, uint32_t bytes, const uint8_t *want, uint32_t want_bytes)
{
	uint32_t have;

	assert_true(ask(f, bytes, 0, &have) > NEIGHBOUR_CONFLICT);
	assert_int_equal(have, want_bytes);
	assert_memory_equal(frame, want, want_bytes);
}

#define ANSWER(question, answer) expect_answer(question, sizeof question, answer, sizeof answer)

static void test_golden(void **state)
{
	(void)state;
	ANSWER(arp_request, arp_reply);
	ANSWER(arp_probe, arp_probe_reply);
	ANSWER(ns, na);
	ANSWER(ns_unicast, na);
	ANSWER(ns_dad, na_dad);
	ANSWER(echo4, echo4_reply);
	ANSWER(echo6, echo6_reply);
	expect_answer(arp_request, 42, arp_reply, sizeof arp_reply); /* without its padding */
}

static void test_announcements(void **state)
{
	uint8_t to[NEIGHBOUR_ANNOUNCE_MAX];

	(void)state;
	assert_int_equal(neighbour_announce(&us, 0, to), sizeof announce4);
	assert_memory_equal(to, announce4, sizeof announce4);
	assert_int_equal(neighbour_announce(&us, 1, to), sizeof announce6);
	assert_memory_equal(to, announce6, sizeof announce6);
}

/* Nothing that we send is a question to ourselves, when the wire brings it back. */
static void test_own_frames(void **state)
{
	(void)state;
	assert_int_equal(kind_of(arp_reply, sizeof arp_reply), NEIGHBOUR_NONE);
	assert_int_equal(kind_of(na, sizeof na), NEIGHBOUR_NONE);
	assert_int_equal(kind_of(announce4, sizeof announce4), NEIGHBOUR_NONE);
	assert_int_equal(kind_of(announce6, sizeof announce6), NEIGHBOUR_NONE);
	assert_int_equal(kind_of(echo4_reply, sizeof echo4_reply), NEIGHBOUR_NONE);
}

static void test_tags(void **state)
{
	static const uint8_t vlan[4] = {0x81, 0, 0x60, 5}, outer[4] = {0x88, 0xa8, 0, 7};
	uint8_t f[FRAME_MAX], want[FRAME_MAX];
	uint32_t bytes, want_bytes, have;

	(void)state;
	/* In the frame, and taken off by the port: the answer has them in the frame. */
	memcpy(f, ns, sizeof ns);
	memcpy(want, na, sizeof na);
	bytes = frame_insert(f, sizeof ns, 12, vlan, 4);
	want_bytes = frame_insert(want, sizeof na, 12, vlan, 4);
	expect_answer(f, bytes, want, want_bytes);
	assert_int_equal(ask(ns, sizeof ns, RTE_MBUF_F_RX_VLAN_STRIPPED, &have), NEIGHBOUR_SOLICITATION);
	assert_int_equal(have, want_bytes);
	assert_memory_equal(frame, want, want_bytes);
	want_bytes = frame_insert(want, want_bytes, 12, outer, 4);
	assert_int_equal(ask(f, bytes, RTE_MBUF_F_RX_QINQ_STRIPPED, &have), NEIGHBOUR_SOLICITATION);
	assert_int_equal(have, want_bytes);
	assert_memory_equal(frame, want, want_bytes);
	bytes = frame_insert(f, bytes, 12, outer, 4);
	expect_answer(f, bytes, want, want_bytes);
	assert_int_equal(ask(f, bytes, RTE_MBUF_F_RX_VLAN_STRIPPED, &have), NEIGHBOUR_NONE); /* three */
	/* A short answer with a tag is as long as without. */
	memcpy(f, arp_request, sizeof arp_request);
	bytes = frame_insert(f, 42, 12, vlan, 4);
	assert_int_equal(ask(f, bytes, 0, &have), NEIGHBOUR_ARP);
	assert_int_equal(have, 60);
	assert_memory_equal(frame + 12, vlan, 4);
}

/* The ICMP checksum of a frame without tags, mended. */
static void mend(uint8_t *f, uint32_t bytes)
{
	if (f[12] == 8) {
		frame_sum_ipv4(f + 14);
		frame_put16(f + 36, 0);
		frame_put16(f + 36, frame_checksum(f + 34, (f[16] << 8 | f[17]) - 20u, 0));
	} else {
		uint32_t n = bytes - 54;

		frame_put16(f + 56, 0);
		frame_put16(f + 56, frame_checksum(f + 54, n, frame_checksum(f + 22, 32, 58 + n) ^ 0xffffu));
	}
}

struct change {
	uint32_t at;
	uint8_t to;
	enum neighbour_kind kind;
};

/* One byte of a question is another one, and checksums are right. */
static void changes(const uint8_t *question, uint32_t bytes, const struct change *c, size_t count, bool ip)
{
	for (size_t i = 0; i < count; i++) {
		uint8_t f[2000];

		memcpy(f, question, bytes);
		f[c[i].at] = c[i].to;
		if (ip)
			mend(f, bytes);
		if (kind_of(f, bytes) != c[i].kind)
			fail_msg("byte %u as %02x: not %d", c[i].at, c[i].to, c[i].kind);
	}
}

static void test_arp_changes(void **state)
{
	static const struct change c[] = {
		{0, 2, NEIGHBOUR_NONE},				   /* to somebody else */
		{6, 3, NEIGHBOUR_NONE},				   /* from a group */
		{15, 6, NEIGHBOUR_NONE},			   /* of other hardware */
		{16, 0x86, NEIGHBOUR_NONE},			   /* of another protocol */
		{18, 8, NEIGHBOUR_NONE},			   /* lengths */
		{19, 16, NEIGHBOUR_NONE}, {20, 1, NEIGHBOUR_NONE}, /* operations */
		{21, 2, NEIGHBOUR_NONE}, {21, 3, NEIGHBOUR_NONE}, {22, 3, NEIGHBOUR_NONE}, /* a group asks */
		{28, 224, NEIGHBOUR_NONE}, {28, 127, NEIGHBOUR_NONE},
		{31, 2, NEIGHBOUR_CONFLICT}, /* with our address */
		{31, 77, NEIGHBOUR_ARP},     /* anybody else may ask */
		{32, 9, NEIGHBOUR_ARP},	     /* whatever stands there */
		{41, 3, NEIGHBOUR_NONE},     /* for another address */
	};
	uint8_t f[60];

	(void)state;
	changes(arp_request, sizeof arp_request, c, sizeof c / sizeof *c, false);
	for (uint32_t n = 0; n < 42; n++)
		assert_int_equal(kind_of(arp_request, n), NEIGHBOUR_NONE);
	/* The answer of another host with our address, and its announcement. */
	memcpy(f, arp_request, sizeof f);
	f[21] = 2;
	f[31] = 2;
	assert_int_equal(kind_of(f, sizeof f), NEIGHBOUR_CONFLICT);
	memcpy(f, us.mac, 6); /* to us alone */
	f[21] = 1;
	f[31] = 1;
	assert_int_equal(kind_of(f, sizeof f), NEIGHBOUR_ARP);
}

static void test_echo4_changes(void **state)
{
	static const struct change c[] = {
		{5, 9, NEIGHBOUR_NONE},	     /* to another host */
		{11, 2, NEIGHBOUR_NONE},     /* from us */
		{14, 0x55, NEIGHBOUR_NONE},  /* version */
		{20, 0x20, NEIGHBOUR_NONE},  /* more fragments */
		{21, 1, NEIGHBOUR_NONE},     /* an offset */
		{20, 0x40, NEIGHBOUR_ECHO4}, /* not to be cut */
		{23, 17, NEIGHBOUR_NONE},    /* UDP */
		{26, 0, NEIGHBOUR_NONE},     /* from no host */
		{26, 127, NEIGHBOUR_NONE},
		{26, 255, NEIGHBOUR_NONE},
		{29, 2, NEIGHBOUR_NONE}, /* from our address */
		{33, 3, NEIGHBOUR_NONE}, /* to another address */
		{33, 255, NEIGHBOUR_NONE},
		{34, 0, NEIGHBOUR_NONE}, /* other messages */
		{34, 13, NEIGHBOUR_NONE},
		{35, 1, NEIGHBOUR_NONE},
		{40, 9, NEIGHBOUR_ECHO4},
	};
	uint8_t f[1600];

	(void)state;
	changes(echo4, sizeof echo4, c, sizeof c / sizeof *c, true);
	for (uint32_t n = 0; n < 55; n++) /* 21 bytes of ICMP */
		assert_int_equal(kind_of(echo4, n), NEIGHBOUR_NONE);
	memcpy(f, echo4, sizeof echo4);
	f[24] ^= 1; /* the header's checksum, that of the message */
	assert_int_equal(kind_of(f, sizeof echo4), NEIGHBOUR_NONE);
	f[24] ^= 1;
	f[50] ^= 1;
	assert_int_equal(kind_of(f, sizeof echo4), NEIGHBOUR_NONE);
	memset(f + 34, 0, sizeof f - 34);
	f[34] = 8;
	frame_put16(f + 16, 27); /* half a message */
	mend(f, sizeof echo4);
	assert_int_equal(kind_of(f, sizeof echo4), NEIGHBOUR_NONE);
	frame_put16(f + 16, 1500); /* a long one */
	mend(f, 1514);
	assert_int_equal(kind_of(f, 1514), NEIGHBOUR_ECHO4);
	assert_int_equal(kind_of(f, 1513), NEIGHBOUR_NONE);
}

static void test_solicitation_changes(void **state)
{
	static const struct change c[] = {
		{0, 0x35, NEIGHBOUR_NONE},			 /* to another group */
		{3, 9, NEIGHBOUR_NONE}, {11, 2, NEIGHBOUR_NONE}, /* from us */
		{14, 0x50, NEIGHBOUR_NONE},			 /* version */
		{20, 0, NEIGHBOUR_NONE},			 /* extensions */
		{21, 254, NEIGHBOUR_NONE},			 /* through a router */
		{22, 0xff, NEIGHBOUR_NONE},			 /* from a group */
		{37, 2, NEIGHBOUR_CONFLICT},			 /* from our address */
		{38, 0xfe, NEIGHBOUR_NONE},			 /* to another group */
		{53, 3, NEIGHBOUR_NONE}, {54, 133, NEIGHBOUR_NONE}, {55, 1, NEIGHBOUR_NONE}, /* code */
		{58, 1, NEIGHBOUR_SOLICITATION},					     /* reserved */
		{62, 0xff, NEIGHBOUR_NONE},						     /* for a group */
		{77, 3, NEIGHBOUR_NONE},	  /* for another address */
		{78, 14, NEIGHBOUR_SOLICITATION}, /* a nonce: as if there were no option */
		{79, 0, NEIGHBOUR_NONE},	  /* an option of nothing, one that is too long */
		{79, 2, NEIGHBOUR_NONE}, {80, 3, NEIGHBOUR_NONE}, /* it has a group's address */
		{85, 9, NEIGHBOUR_SOLICITATION},		  /* it has another one than the frame */
	};
	uint8_t f[sizeof ns + 8];
	uint32_t have;

	(void)state;
	changes(ns, sizeof ns, c, sizeof c / sizeof *c, true);
	for (uint32_t n = 0; n < sizeof ns; n++)
		assert_int_equal(kind_of(ns, n), NEIGHBOUR_NONE);
	memcpy(f, ns, sizeof ns);
	f[56] ^= 1;
	assert_int_equal(kind_of(f, sizeof ns), NEIGHBOUR_NONE);
	/* The answer goes where the option says. */
	memcpy(f, ns, sizeof ns);
	f[85] = 9;
	mend(f, sizeof ns);
	assert_int_equal(ask(f, sizeof ns, 0, &have), NEIGHBOUR_SOLICITATION);
	assert_memory_equal(frame, f + 80, 6);
	/* A target that only looks like our IPv4 address. */
	memcpy(f, ns, sizeof ns);
	memset(f + 62, 0, 10);
	memset(f + 72, 0xff, 2);
	memcpy(f + 74, (const uint8_t[]){192, 0, 2, 2}, 4);
	mend(f, sizeof ns);
	assert_int_equal(kind_of(f, sizeof ns), NEIGHBOUR_NONE);
	/* Somebody tries our address, but says who he is, or asks us alone. */
	memcpy(f, ns, sizeof ns);
	memset(f + 22, 0, 16);
	mend(f, sizeof ns);
	assert_int_equal(kind_of(f, sizeof ns), NEIGHBOUR_NONE);
	memcpy(f, ns_unicast, sizeof ns_unicast);
	memset(f + 22, 0, 16);
	mend(f, sizeof ns_unicast);
	assert_int_equal(kind_of(f, sizeof ns_unicast), NEIGHBOUR_NONE);
}

static void test_echo6_changes(void **state)
{
	static const struct change c[] = {
		{5, 9, NEIGHBOUR_NONE},				   /* to another host */
		{20, 60, NEIGHBOUR_NONE},			   /* extensions */
		{22, 0xff, NEIGHBOUR_NONE},			   /* from a group */
		{37, 2, NEIGHBOUR_NONE},			   /* from our address */
		{53, 3, NEIGHBOUR_NONE},			   /* to another address */
		{54, 129, NEIGHBOUR_NONE},			   /* an answer */
		{55, 1, NEIGHBOUR_NONE}, {21, 1, NEIGHBOUR_ECHO6}, /* from far away */
	};

	(void)state;
	changes(echo6, sizeof echo6, c, sizeof c / sizeof *c, true);
	for (uint32_t n = 0; n < sizeof echo6; n++)
		assert_int_equal(kind_of(echo6, n), NEIGHBOUR_NONE);
}

/* Another host with our address answers for it. */
static void test_conflicts(void **state)
{
	const struct neighbour_conflict c = {.port = 15, .own = 7, .mac = {2, 0, 0, 0x5e, 0x10, 1}};
	struct neighbour_conflict again = neighbour_conflict_of(neighbour_conflict_word(&c));
	uint8_t f[sizeof na_other];

	(void)state;
	assert_int_equal(again.port, 15);
	assert_int_equal(again.own, 7);
	assert_memory_equal(again.mac, him, 6);
	assert_int_equal(kind_of(na_other, sizeof na_other), NEIGHBOUR_CONFLICT);
	memcpy(f, na_other, sizeof f);
	f[77] = 3; /* for another address */
	mend(f, sizeof f);
	assert_int_equal(kind_of(f, sizeof f), NEIGHBOUR_NONE);
	f[77] = 2;
	f[21] = 64; /* through a router: anybody could */
	mend(f, sizeof f);
	assert_int_equal(kind_of(f, sizeof f), NEIGHBOUR_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_golden),
		cmocka_unit_test(test_announcements), cmocka_unit_test(test_own_frames),
		cmocka_unit_test(test_tags), cmocka_unit_test(test_arp_changes),
		cmocka_unit_test(test_echo4_changes), cmocka_unit_test(test_solicitation_changes),
		cmocka_unit_test(test_echo6_changes), cmocka_unit_test(test_conflicts)};

	return cmocka_run_group_tests(tests, frames_make, NULL);
}
