/* For benchmarks: best-of-N timing, a counter of executed instructions, and a random generator. Header only,
 * C and C++.
 *
 * Instructions are counted by running the code in single-step mode: the CPU traps after each one, and the
 * handler counts. It is slow (microseconds an instruction) but exact, repeatable, and needs no hardware
 * counters. */
#ifndef SLUICE_BENCH_UTIL_H
#define SLUICE_BENCH_UTIL_H

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static inline uint64_t bench_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* Keeps the compiler from removing what computes *p. */
static inline void bench_keep(const void *p)
{
	__asm__ volatile("" : : "g"(p) : "memory");
}

/* Resident set of this process. */
static inline uint64_t bench_resident_bytes(void)
{
	unsigned long total = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (!f || fscanf(f, "%lu %lu", &total, &resident) != 2)
		abort();
	fclose(f);
	return resident * 4096;
}

/* splitmix64 */
static inline uint64_t bench_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

typedef void bench_fn(void *arg, uint32_t count);

/* Shortest of `runs` runs of fn(arg, count), per item. */
static inline double bench_best_ns(bench_fn *fn, void *arg, uint32_t count, int runs)
{
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < runs; i++) {
		uint64_t start = bench_now_ns(), took;

		fn(arg, count);
		took = bench_now_ns() - start;
		if (took < best)
			best = took;
	}
	return (double)best / count;
}

static volatile uint64_t bench_steps;

static inline void bench_step_handler(int sig)
{
	(void)sig;
	bench_steps = bench_steps + 1;
}

/* The trap flag is bit 8 of RFLAGS; the red zone below the stack pointer is stepped over. */
static __attribute__((noinline, unused)) void bench_step_on(void)
{
	__asm__ volatile("sub $128, %%rsp\n\tpushfq\n\torq $0x100, (%%rsp)\n\tpopfq\n\tadd $128, %%rsp"
			 :
			 :
			 : "memory", "cc");
}

static __attribute__((noinline, unused)) void bench_step_off(void)
{
	__asm__ volatile("sub $128, %%rsp\n\tpushfq\n\tandq $~0x100, (%%rsp)\n\tpopfq\n\tadd $128, %%rsp"
			 :
			 :
			 : "memory", "cc");
}

/* Instructions of fn(arg, count), per item; count should be small (hundreds). fn runs once before, unstepped.
 */
static inline double bench_instructions(bench_fn *fn, void *arg, uint32_t count)
{
	struct sigaction action, before;
	uint64_t empty, all;

	memset(&action, 0, sizeof action);
	action.sa_handler = bench_step_handler;
	fn(arg, count);
	sigaction(SIGTRAP, &action, &before);
	bench_steps = 0;
	bench_step_on();
	bench_step_off();
	empty = bench_steps;
	bench_steps = 0;
	bench_step_on();
	fn(arg, count);
	bench_step_off();
	all = bench_steps;
	sigaction(SIGTRAP, &before, NULL);
	return (double)(all - empty) / count;
}

/* Items whose instructions bench_report() counts. A function that takes items by the batch needs a multiple
 * of a batch here, as in its count: what it does beyond them would be counted on their account. */
static uint32_t bench_step_items = 256;

/* Times fn over count items and prints a line. bytes: of all items, 0 = none. Returns ns per item. */
static inline double bench_report(const char *name, bench_fn *fn, void *arg, uint32_t count, uint64_t bytes)
{
	double ns, steps;

	fn(arg, count);
	ns = bench_best_ns(fn, arg, count, 20);
	steps = bench_instructions(fn, arg, count < bench_step_items ? count : bench_step_items);
	printf("%-44s %8.2f ns/event %7.0f instructions %7.2f M/s", name, ns, steps, 1e3 / ns);
	if (bytes)
		printf(" %6.2f GB/s", (double)bytes / count / ns);
	printf("\n");
	fflush(stdout);
	return ns;
}

#endif
