/* corenatctl check: proves the arena sound, on a live box or at rest. */
#include "shm/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "mgmtd/ctl/ctl.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SAID_MAX = 1000, PROGRESS_MS = 500 };

/* ---- progress, where somebody looks on ---- */

struct progress {
	const struct check_counts *counts;
	uint32_t looks;
	_Atomic bool done;
	pthread_t thread;
	bool runs;
};

static void *show_progress(void *context)
{
	struct progress *p = context;
	bool shown = false;

	for (unsigned ms = 0; !p->done; ms += 50) {
		nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
		if (ms < PROGRESS_MS || p->done)
			continue;
		fprintf(stderr, "\rlook %u of %u: %3u %%", p->counts->look, p->looks, p->counts->percent);
		shown = true;
	}
	if (shown)
		fprintf(stderr, "\r%30s\r", "");
	return NULL;
}

static void progress_begin(struct progress *p)
{
	p->runs = isatty(STDERR_FILENO) && pthread_create(&p->thread, NULL, show_progress, p) == 0;
}

static void progress_end(struct progress *p)
{
	p->done = true;
	if (p->runs)
		pthread_join(p->thread, NULL);
}

/* ---- what was found ---- */

static void print_violation(void *context, const struct check_violation *v)
{
	uint64_t *said = context;

	if (++*said > SAID_MAX)
		return;
	printf("%s: %s: %s; but %s\n", check_rule_info[v->rule].name, v->object.text, v->fact[0].text, v->fact[1].text);
	if (*said == SAID_MAX)
		printf("... the rest is only counted\n");
}

static unsigned long long ull(uint64_t n)
{
	return n;
}

static void print_pages(const struct check_counts *n)
{
	static const char *const class_name[N_SLAB_CLASSES] = {
#define S(name, bytes, whose, help) [SLAB_##name] = help,
		SLAB_CLASSES(S)
#undef S
	};

	printf("pages          %u free", n->pages_free);
	for (unsigned actor = 0; actor < ACTOR_MAX; actor++)
		for (int class = 0; class < N_SLAB_CLASSES; class ++) {
			if (!n->pages[actor][class])
				continue;
			if (actor < ENGINE_MAX)
				printf(", engine %u", actor);
			else
				printf(", %s", actor == ACTOR_MGMTD ? "mgmtd" : "shared");
			printf(" %u (%s)", n->pages[actor][class], class_name[class]);
		}
	printf("\n");
}

static void print_counts(const struct check_counts *n)
{
	printf("sessions       %llu: %llu flows, of them %llu with replies elsewhere; %llu ending; %llu adoptions\n",
		ull(n->sessions), ull(n->flows), ull(n->away), ull(n->dying), ull(n->adoptions));
	printf("mappings       %llu, used by %llu sessions besides their carriers\n", ull(n->mappings),
		ull(n->references));
	printf("filters        %llu; %llu flows began outside\n", ull(n->filters), ull(n->inbound));
	printf("tables         %llu local entries, %llu global, %llu of mappings, %llu of filters\n",
		ull(n->local_entries), ull(n->global_entries), ull(n->mapping_entries), ull(n->filter_entries));
	printf("ports          %llu of TCP, %llu of UDP and ICMP taken, in %u port tables; %u addresses in force\n",
		ull(n->ports[PORTS_TCP]), ull(n->ports[PORTS_OTHER]), n->port_tables, n->addresses);
	print_pages(n);
	printf("next hops      %u adjacencies\n", n->adjacencies);
	printf("events         %llu not yet stored\n", (unsigned long long)n->events);
	printf("in flight      %llu locks held, %llu intents open, %llu passing disagreements\n", ull(n->locks),
		ull(n->intents), ull(n->in_flight));
}

static void print_rules_broken(const struct check_counts *n)
{
	for (int r = 0; r < N_CHECK_RULES; r++)
		if (n->violations[r])
			printf("%-18s %llu times; the rule: %s\n", check_rule_info[r].name, ull(n->violations[r]),
				check_rule_info[r].help);
}

static int verdict(int64_t violations, const struct check_counts *n, span_t took)
{
	if (violations < 0) {
		log_error("no memory for the check");
		return CTL_FAILED;
	}
	printf("\n");
	print_counts(n);
	printf("\n");
	print_rules_broken(n);
	printf("%s: %lld violations, %u looks, %.2f s\n", violations ? "NOT SOUND" : "sound", (long long)violations,
		n->looks, (double)took.ns / 1e9);
	return violations ? CTL_FAILED : 0;
}

/* ---- the command ---- */

static bool anybody(const struct arena *a)
{
	for (unsigned n = 0; n < ACTOR_MAX; n++)
		if (arena_claimed(a, n))
			return true;
	return false;
}

int ctl_check(const struct config *c, const struct ctl_options *o)
{
	static struct check_counts counts;
	struct progress progress = {.counts = &counts};
	struct arena_error wrong;
	struct arena *a = arena_attach(c->arena.name, &wrong);
	uint64_t said = 0;

	if (!a) {
		log_error("%s", wrong.text);
		return CTL_FAILED;
	}
	bool live = anybody(a);
	if (live && o->exact)
		log_warning("processes run: what they are in the middle of will look like violations");
	enum check_mode mode = live && !o->exact ? CHECK_LIVE : CHECK_EXACT;
	printf("arena          %s, %s\n", a->name,
		mode == CHECK_LIVE ? "live: what three looks find alike counts" : "at rest: exact");
	fflush(stdout);
	mono_t began = mono_now();
	progress.looks = mode == CHECK_LIVE ? CHECK_LOOKS : 1;
	progress_begin(&progress);
	int64_t violations = check_arena(a, mode, print_violation, &said, &counts);
	progress_end(&progress);
	int status = verdict(violations, &counts, mono_since(mono_now(), began));
	arena_close(a);
	return status;
}
