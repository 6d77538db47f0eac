#include "tests/bench/lines.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096, PAGES_MAX = 1 << 14 };

/* A page about to be written for the first time, as it was. */
struct page_before {
	uint8_t *at;
	uint8_t bytes[PAGE];
};

static struct {
	uint8_t *base;
	uint64_t bytes;
	struct page_before *page;
	unsigned n;
} watched;

/* The write is tried again when this returns. */
static void on_write(int number, siginfo_t *info, void *context)
{
	uint8_t *at = (uint8_t *)((uintptr_t)info->si_addr & ~(uintptr_t)(PAGE - 1));

	(void)number;
	(void)context;
	if (at < watched.base || at >= watched.base + watched.bytes || watched.n == PAGES_MAX)
		abort();
	struct page_before *p = &watched.page[watched.n++];

	p->at = at;
	memcpy(p->bytes, at, PAGE);
	if (mprotect(at, PAGE, PROT_READ | PROT_WRITE) != 0)
		abort();
}

bool lines_open(struct lines *l, const struct arena *a)
{
	const struct sigaction action = {.sa_sigaction = on_write, .sa_flags = SA_SIGINFO};

	*l = (struct lines){.writer = calloc(a->bytes / CACHE_LINE + 1, 1), .bytes = a->bytes};
	watched.base = a->base;
	watched.bytes = a->bytes;
	watched.page = malloc(PAGES_MAX * sizeof *watched.page);
	return l->writer && watched.page && sigaction(SIGSEGV, &action, NULL) == 0;
}

void lines_close(struct lines *l)
{
	signal(SIGSEGV, SIG_DFL);
	free(l->writer);
	free(watched.page);
	watched.page = NULL;
}

void lines_reset(struct lines *l)
{
	l->changed = l->of_two = 0;
	memset(l->writer, 0, l->bytes / CACHE_LINE + 1);
}

bool lines_watch(void)
{
	watched.n = 0;
	return mprotect(watched.base, watched.bytes, PROT_READ) == 0;
}

bool lines_look(struct lines *l, unsigned engine)
{
	for (unsigned i = 0; i < watched.n; i++) {
		const struct page_before *p = &watched.page[i];

		for (unsigned at = 0; at < PAGE; at += CACHE_LINE) {
			uint8_t *writer = &l->writer[((uint64_t)(p->at - watched.base) + at) / CACHE_LINE];

			if (memcmp(p->at + at, p->bytes + at, CACHE_LINE) == 0)
				continue;
			l->changed++;
			l->of_two += *writer && *writer != engine + 1;
			*writer = (uint8_t)(engine + 1);
		}
	}
	return mprotect(watched.base, watched.bytes, PROT_READ | PROT_WRITE) == 0;
}
