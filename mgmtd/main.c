/* corenat-mgmtd: puts the configuration in force, keeps the engines' next hops, answers people. */
#include "common/args.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/service.h"
#include "mgmtd/alarms.h"
#include "mgmtd/book.h"
#include "mgmtd/commit.h"
#include "mgmtd/feed.h"
#include "mgmtd/history.h"
#include "mgmtd/ledger.h"
#include "mgmtd/mirror.h"
#include "mgmtd/nic.h"
#include "mgmtd/rest.h"
#include "mgmtd/versions.h"
#include "shm/shared_slab.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { COMMIT_RETRY_MS = 100, STATUS_FAILED = 1, STATUS_USAGE = 2 };

struct mgmtd {
	struct config config, resolved; /* as it was given, and with what interfaces say */
	struct arena *arena;
	struct actor *self;
	struct commit commit;
	mono_t commit_due, tend_due;
	bool written_down; /* among the versions */
	struct mirror *mirror;
	struct history *history;
	struct versions *versions;
	struct ledger *ledger;
	struct alarms alarms; /* the feed's */
	struct feed *feed;
	struct book *book;
	struct api api;
	struct rest *rest;
	char address[80]; /* where the API is, for people */
};

/* ---- starting ---- */

/* The role comes first: all that follows writes what only one mgmtd may. */
static bool take_arena(struct mgmtd *m)
{
	struct arena_error wrong;
	int err;

	m->arena = arena_open(&m->config, &wrong);
	if (!m->arena) {
		log_error("%s", wrong.text);
		return false;
	}
	err = arena_claim(m->arena, ACTOR_MGMTD);
	if (err) {
		log_error("arena %s: %s", m->arena->name,
			err == -EBUSY ? "another corenat-mgmtd manages it already" : strerror(-err));
		return false;
	}
	log_notice("arena %s: %s", m->arena->name, m->arena->backing);
	shared_repair(m->arena, ACTOR_MGMTD);
	struct subscribers view = subscribers_view(m->arena, ACTOR_MGMTD);
	view.now = mono_now();
	subscribers_settle(&view);
	m->self = actor_of(m->arena, ACTOR_MGMTD);
	atomic_fetch_add(&m->self->incarnation, 1);
	atomic_store(&m->self->heartbeat_ns, mono_now().ns);
	atomic_store(&m->self->pid, getpid());
	return true;
}

static void warn_of_size(const char *what, uint32_t made_for, uint32_t says)
{
	if (made_for != says)
		log_warning("the arena was made for %u %s, arena.%s says %u: remove it with `corenatctl arena remove` "
			    "for that to take effect",
			made_for, what, what, says);
}

static bool take_config(struct mgmtd *m)
{
	struct config_error wrong;
	const struct arena_geometry *g = &m->arena->header->geometry;

	warn_of_size("engines", g->engines, m->config.arena.engines);
	warn_of_size("sessions", g->sessions, m->config.arena.sessions);
	warn_of_size("subscribers", g->subscribers, m->config.arena.subscribers);
	m->resolved = m->config;
	if (nic_read_rss(&m->resolved, &wrong) && commit_open(&m->commit, m->arena, &m->resolved, mono_now(), &wrong))
		return true;
	log_error("%s", wrong.text);
	return false;
}

static bool start_mirror(struct mgmtd *m)
{
	const char *const interface[N_SIDES] = {
		m->config.net.side[SIDE_INSIDE].name,
		m->config.net.side[SIDE_OUTSIDE].name,
	};

	m->mirror = mirror_open(arena_region(m->arena, ARENA_nexthop), m->arena->header->geometry.engines, interface);
	if (!m->mirror)
		log_error("cannot read routes and neighbours: %s", strerror(errno));
	return m->mirror != NULL;
}

/* What the appliance counted goes into its history, and may be worth an alarm. */
static void take_report(void *context, int64_t unix_ms, const struct engine_report *appliance)
{
	struct mgmtd *m = context;

	if (m->history)
		history_add(m->history, unix_ms, appliance); /* tells by itself what goes wrong */
	alarms_look(&m->alarms, unix_ms, appliance);
}

/* Without a history everything else works; /health says so. */
static bool start_feed(struct mgmtd *m)
{
	const struct config *c = &m->config;
	struct history_error wrong;

	m->history = history_open(c->history.file, c->history.keep_s, c->statistics.interval_ms, &wrong);
	if (!m->history)
		log_error("history: %s", wrong.text);

	struct feed_sink sink = {take_report, m};

	alarms_init(&m->alarms, alarms_log, NULL);

	m->feed = feed_open(c->system.runtime_dir, c->statistics.interval_ms, &sink);
	if (!m->feed)
		log_error("cannot start to ask the aggregator: %s", strerror(errno));
	return m->feed != NULL;
}

/* Without the book everything else works: names cannot be given or taken. */
static void open_book(struct mgmtd *m)
{
	struct book_error wrong;

	m->book = book_open(m->config.subscribers.file, &wrong);
	if (!m->book) {
		log_error("subscribers: %s", wrong.text);
		return;
	}
	int64_t n = book_restore(m->book, m->arena);

	if (n < 0)
		log_error("subscribers: not all that are known by name are in force: %s", strerror((int)-n));
	else if (n > 0)
		log_notice("subscribers: %lld are known by name", (long long)n);
}

static bool start_rest(struct mgmtd *m)
{
	struct rest_error wrong = {.text = ""};
	int fd = rest_listen(m->config.api.listen, &wrong);

	if (fd < 0) {
		log_error("api.listen: %s", wrong.text);
		return false;
	}
	rest_address(fd, m->address, sizeof m->address);
	m->api.config = &m->config;
	m->api.arena = m->arena;
	m->api.feed = m->feed;
	m->api.history = m->history;
	m->api.ledger = m->ledger;
	m->api.book = m->book;
	m->api.versions = m->versions;
	m->rest = rest_open(fd, &m->api);
	return m->rest != NULL;
}

static int64_t unix_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Without the file everything else works; /health says so. */
static void start_versions(struct mgmtd *m)
{
	const struct config *c = &m->config;
	struct versions_error wrong;

	m->versions = versions_open(c->versions.file, c->versions.keep, c->versions.keep_s, &wrong);
	if (!m->versions)
		log_error("versions: %s", wrong.text);
}

/* Without the file everything else works: engines' events wait in their rings, and are lost when those are full. */
static void start_ledger(struct mgmtd *m)
{
	const struct config *c = &m->config;
	struct ledger_setup setup = {c->events.file, c->events.keep_s, c->events.keep, c, false};
	struct ledger_error wrong;

	m->ledger = ledger_open(&setup, m->arena, &wrong);
	if (!m->ledger)
		log_error("events: %s", wrong.text);
}

static bool start(struct mgmtd *m)
{
	if (!take_arena(m))
		return false;
	open_book(m);
	if (!take_config(m))
		return false;
	start_versions(m);
	start_ledger(m);
	return start_mirror(m) && start_feed(m) && start_rest(m);
}

/* Every part takes NULL, so this undoes a start that failed half-way too. Requests end before what they read. */
static void stop(struct mgmtd *m)
{
	rest_close(m->rest);
	feed_close(m->feed);
	history_close(m->history);
	ledger_close(m->ledger);
	book_close(m->book);
	versions_close(m->versions);
	mirror_close(m->mirror);
	commit_close(&m->commit);
	if (m->self)
		atomic_store(&m->self->pid, 0);
	arena_close(m->arena);
}

/* ---- running ---- */

/* Before engines can see the configuration. What goes wrong is in the log. */
static void write_down(struct mgmtd *m)
{
	char *text = m->versions && !m->written_down ? config_print(&m->config) : NULL;

	if (text)
		versions_begin(m->versions, unix_ms(), text);
	m->written_down = true;
	free(text);
}

static void tend_turn(struct mgmtd *m, mono_t now)
{
	if (!mono_due(now, m->tend_due))
		return;
	m->tend_due = mono_after(now, span_s(TEND_S));
	if (commit_tend(&m->commit, now))
		atomic_store(&m->self->config_ack, m->arena->header->config_generation);
}

static void commit_turn(struct mgmtd *m, mono_t now)
{
	char status[128];

	if (m->commit.done) {
		tend_turn(m, now);
		return;
	}
	if (!mono_due(now, m->commit_due))
		return;
	m->commit_due = mono_after(now, span_ms(COMMIT_RETRY_MS));
	write_down(m);
	m->api.commit_waits = !commit_try(&m->commit, now);
	if (!m->commit.done)
		return;
	if (m->versions)
		versions_commit(m->versions, unix_ms());
	atomic_store(&m->self->config_ack, m->arena->header->config_generation);
	snprintf(status, sizeof status, "manages %u engines, API on %s", m->arena->header->geometry.engines,
		m->config.api.listen);
	service_ready(status);
}

static void run(struct mgmtd *m)
{
	struct pollfd p[] = {
		{.fd = service_stop_fd(), .events = POLLIN},
		{.fd = mirror_fd(m->mirror), .events = POLLIN},
	};

	while (!service_stop_asked()) {
		mono_t now = mono_now();

		atomic_store_explicit(&m->self->heartbeat_ns, now.ns, memory_order_relaxed);
		commit_turn(m, now);
		mirror_run(m->mirror, now);
		service_alive(now);
		poll(p, 2, MIRROR_TICK_MS);
	}
}

static int check(const struct config *c)
{
	char *text = config_print(c);
	bool ok = text && fputs(text, stdout) >= 0 && fflush(stdout) == 0;

	free(text);
	return ok ? 0 : STATUS_FAILED;
}

int main(int argc, char **argv)
{
	static struct mgmtd mgmtd;
	static const char *file;
	static bool only_check;
	static const struct arg args[] = {
		{"config", "FILE", "the configuration", .text = &file, .required = true},
		{"check", NULL, "print the effective configuration and exit", .flag = &only_check},
		{.name = NULL},
	};
	struct config_error wrong;
	int err = args_parse(
		argc, argv, "corenat-mgmtd", "configures the appliance and serves its API and dashboard", args, NULL);

	if (err != ARGS_RUN)
		return err;
	err = service_open("corenat-mgmtd");
	if (err) {
		log_error("cannot start: %s", strerror(-err));
		return STATUS_FAILED;
	}
	if (!config_load(&mgmtd.config, file, &wrong)) {
		log_error("%s", wrong.text);
		return STATUS_USAGE;
	}
	if (only_check)
		return check(&mgmtd.config);
	bool ok = start(&mgmtd);
	if (ok)
		run(&mgmtd);
	service_close();
	stop(&mgmtd);
	return ok ? 0 : STATUS_FAILED;
}
