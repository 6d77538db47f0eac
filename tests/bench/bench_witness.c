/* What the machine does to a thread whatever it does: turns as long as an engine's under load, which read lines of the arena
 * at random and the clock, and are judged as an engine's are (pe/turns.h). Prints a line for each stall, as an engine's log
 * has it, and one at the end. What a hypervisor takes without telling the kernel is seen by nothing else. */
#include "common/args.h"
#include "common/clock.h"
#include "pe/turns.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const span_t turn = {100000u};
enum { LINES_A_LOOK = 64 };

struct memory {
	const volatile uint64_t *words;
	size_t n;
	uint64_t random;
};

static bool map(struct memory *m, const char *file)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return false;
	m->n = (size_t)st.st_size / sizeof *m->words;
	m->words = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
	m->random = 1;
	close(fd);
	return m->words != MAP_FAILED && m->n;
}

static void read_some(struct memory *m)
{
	for (unsigned i = 0; i < LINES_A_LOOK; i++) {
		m->random = m->random * 6364136223846793005u + 1442695040888963407u;
		(void)m->words[(size_t)((__uint128_t)m->random * m->n >> 64)];
	}
}

static unsigned long run(struct actor *actor, struct memory *m, mono_t end)
{
	struct turns t = {0};
	unsigned long turns = 0;
	mono_t from = mono_now(), to;

	turns_wake(&t, from, turns_cpu());
	for (; !mono_due(from, end); from = to, turns++) {
		do {
			read_some(m);
			to = mono_now();
		} while (mono_since(to, from).ns < turn.ns);
		span_t own = turns_count(&t, actor, from, to, (span_t){0}, turns_cpu);

		if (own.ns)
			printf("a turn from %.6f to %.6f s had %.3f ms of its own work\n", (double)from.ns / 1e9,
				(double)to.ns / 1e9, (double)own.ns / 1e6);
	}
	return turns;
}

int main(int argc, char **argv)
{
	static unsigned cpu, seconds = 60;
	static const char *file;
	static const struct arg args[] = {{"file", "PATH", "the arena's, in /dev/shm", .text = &file, .required = true},
		{"cpu", "N", "on this CPU alone, 0", .number = &cpu, .max = CPU_SETSIZE - 1},
		{"seconds", "N", "for so long, 60", .number = &seconds, .min = 1, .max = 86400}, {0}};
	int status = args_parse(argc, argv, "bench_witness", "stalls of a thread that does nothing", args, NULL);
	struct memory memory;
	cpu_set_t set;

	if (status != ARGS_RUN)
		return status;
	struct actor *actor = calloc(1, sizeof *actor);

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (!actor || sched_setaffinity(0, sizeof set, &set) || !map(&memory, file)) {
		perror("bench_witness");
		free(actor);
		return 1;
	}
	unsigned long turns = run(actor, &memory, mono_after(mono_now(), span_s(seconds)));

	printf("turns=%lu longer=%llu stalls=%llu\n", turns,
		(unsigned long long)counter_get(&actor->counters[COUNTER_turns_longer]),
		(unsigned long long)counter_get(&actor->counters[COUNTER_stalls]));
	free(actor);
	return 0;
}
