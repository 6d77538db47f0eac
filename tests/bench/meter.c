#include "tests/bench/meter.h"

#include "common/clock.h"

#include <linux/perf_event.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <valgrind/callgrind.h>
#include <x86intrin.h>

enum { CYCLES, INSTRUCTIONS };

static int open_event(uint64_t config)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_HARDWARE,
		.size = sizeof attr,
		.config = config,
		.exclude_kernel = 1,
		.exclude_hv = 1,
	};

	return (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

static uint64_t read_event(int fd)
{
	uint64_t value = 0;

	if (fd >= 0 && read(fd, &value, sizeof value) != sizeof value)
		value = 0;
	return value;
}

static uint64_t ticks(void)
{
	_mm_lfence();
	uint64_t t = __rdtsc();
	_mm_lfence();
	return t;
}

static double measure_tsc(void)
{
	mono_t from = mono_now(), to;
	uint64_t began = ticks();

	do
		to = mono_now();
	while (mono_since(to, from).ns < 20000000u);
	return (double)(ticks() - began) / (double)mono_since(to, from).ns;
}

double meter_cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* Multiplications that wait for each other take three cycles each on every x86 of the last ten years. The shortest of
 * many stretches is one that nothing interrupted. */
void meter_calibrate(struct meter *m)
{
	enum { CHAIN = 2000, TRIES = 400 };
	uint64_t best = UINT64_MAX, x = 3;

	for (int try = 0; try < TRIES; try++) {
		uint64_t began = ticks();

		for (int i = 0; i < CHAIN; i++)
			__asm__ volatile("imul %0, %0" : "+r"(x));
		uint64_t took = ticks() - began;
		if (took < best)
			best = took;
	}
	m->core_ghz = m->tsc_ghz * 3 * CHAIN / (double)best;
}

void meter_open(struct meter *m)
{
	*m = (struct meter){
		.fd = {open_event(PERF_COUNT_HW_CPU_CYCLES), open_event(PERF_COUNT_HW_INSTRUCTIONS)},
		.tsc_ghz = measure_tsc(),
	};
	m->source = m->fd[CYCLES] >= 0 ? "perf" : "tsc";
	meter_calibrate(m);
}

void meter_close(struct meter *m)
{
	for (int i = 0; i < 2; i++)
		if (m->fd[i] >= 0)
			close(m->fd[i]);
}

void meter_begin(struct meter *m)
{
	if (m->timed)
		m->began_us = meter_cpu_us();
	m->began[INSTRUCTIONS] = read_event(m->fd[INSTRUCTIONS]);
	CALLGRIND_TOGGLE_COLLECT;
	m->began[CYCLES] = m->fd[CYCLES] >= 0 ? read_event(m->fd[CYCLES]) : ticks();
}

void meter_end(struct meter *m)
{
	uint64_t ended = m->fd[CYCLES] >= 0 ? read_event(m->fd[CYCLES]) : ticks();

	CALLGRIND_TOGGLE_COLLECT;
	m->instructions = (double)(read_event(m->fd[INSTRUCTIONS]) - m->began[INSTRUCTIONS]);
	m->cycles = (double)(ended - m->began[CYCLES]);
	if (m->fd[CYCLES] < 0)
		m->cycles *= m->core_ghz / m->tsc_ghz;
	if (m->timed)
		m->us = meter_cpu_us() - m->began_us;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double median(double *v, unsigned n)
{
	if (!n)
		return 0;
	qsort(v, n, sizeof *v, by_value);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}
