#include "shm/arena.h"

#include "shm/arena_spread.h"
#include "shm/clear.h"
#include "shm/engine.h"
#include "shm/event.h"
#include "shm/fragments.h"
#include "shm/global_table.h"
#include "shm/layout.h"
#include "shm/local_table.h"
#include "shm/nexthop.h"
#include "shm/pinhole.h"
#include "shm/snapshot.h"
#include "shm/subscriber.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

enum {
	REGION_ALIGN = 4096,
	ATTACH_LOOKS = 200,
	DEAD_LOOKS = 100, /* in a row: a maker may be without a processor for so long */
	ATTACH_PAUSE_NS = 10 * 1000 * 1000,
};
#define MIB(bytes) ((bytes) >> 20)

static bool refuse(struct arena_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool refuse(struct arena_error *err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(err->text, sizeof err->text, format, args);
	va_end(args);
	return false;
}

/* ---- regions ---- */

static uint64_t align(uint64_t v, uint64_t to)
{
	return (v + to - 1) / to * to;
}

/* Bytes of each region; the one place that knows. */
static uint64_t region_bytes(const struct arena_geometry *g, enum arena_region r)
{
	switch (r) {
	case ARENA_actors:
		return ACTOR_MAX * sizeof(struct actor);
	case ARENA_nexthop:
		return sizeof(struct nexthop);
	case ARENA_snapshots:
		return 2 * sizeof(struct snapshot);
	case ARENA_page_map:
		return g->pages * sizeof(struct page);
	case ARENA_sessions:
		return (uint64_t)g->global_buckets * sizeof(struct global_bucket);
	case ARENA_mappings:
	case ARENA_filters:
		return (uint64_t)g->mapping_buckets * sizeof(struct global_bucket);
	case ARENA_fragments:
		return FRAGMENT_SETS * sizeof(struct fragment_set);
	case ARENA_subscribers:
		return (uint64_t)g->subscriber_buckets * sizeof(struct global_bucket);
	case ARENA_parts:
		return (uint64_t)g->engines * g->part_buckets * sizeof(struct local_bucket);
	case ARENA_clears:
		return sizeof(struct clear_ring);
	case ARENA_events:
		return (g->engines + 1) * (uint64_t)EVENT_RING_BYTES;
	case ARENA_pinholes:
		return g->engines * sizeof(struct pinhole_ring);
	case ARENA_locals:
		return (uint64_t)g->engines * N_DIRS * g->local_buckets * sizeof(struct local_bucket);
	case ARENA_pages:
		return (uint64_t)g->pages * ARENA_PAGE;
	case N_ARENA_REGIONS:
		break;
	}
	abort();
}

static uint64_t layout_regions(const struct arena_geometry *g, struct arena_span span[N_ARENA_REGIONS])
{
	uint64_t at = REGION_ALIGN;

	for (int r = 0; r < N_ARENA_REGIONS; r++) {
		at = align(at, r == ARENA_pages ? ARENA_PAGE : REGION_ALIGN);
		span[r] = (struct arena_span){at, region_bytes(g, r)};
		at += span[r].bytes;
	}
	return align(at, ARENA_PAGE);
}

/* How full tables are when all sessions that are planned for are there. Random keys fill 96 % and more before the first is
 * refused (tests/unit/test_*_table.c); what the last per cents cost is moves, which a burst foresees. */
enum {
	LOCALS_LOAD = 88, /* each per cent more costs a hit 0.7 instructions, for the second bucket */
	SESSIONS_LOAD = 92,
	SUBSCRIBERS_LOAD = 80, /* mostly in the first bucket that is looked in; entries are little beside subscribers */
};

static uint32_t buckets_for(uint64_t entries, unsigned per_bucket, unsigned load_percent)
{
	uint64_t n = entries * 100 / ((uint64_t)per_bucket * load_percent) + 1;

	return n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

/* Each engine may have a part of every subscriber; and each class has a begun page, the engines' one each. */
static uint32_t subscriber_pages(uint64_t subscribers, uint32_t engines)
{
	uint64_t parts = subscribers * engines;

	return (uint32_t)(subscribers / slab_per_page(SLAB_subscriber) + parts / slab_per_page(SLAB_part)) + 2 +
	       engines;
}

static uint32_t at_most(uint32_t pages)
{
	return pages < ARENA_PAGES_MAX ? pages : ARENA_PAGES_MAX;
}

/* Of one engine's tables. A NIC's indirection table has 128 entries or more, and cannot always be dealt evenly. Chance adds
 * less than a 32nd where there are many, a quarter where there are few. */
static uint64_t share_of_engine(uint64_t sessions, uint32_t engines)
{
	enum { INDIRECTIONS = 128, FEW = 256 };
	uint64_t most = (INDIRECTIONS + engines - 1) / engines, share = sessions * most / INDIRECTIONS;
	uint64_t chance = share / 32 + FEW;

	return engines == 1 ? sessions : share + (chance < share / 4 ? chance : share / 4);
}

/* Sessions whose reverse direction lands elsewhere: by chance all but one in so many engines, and those that are turned
 * round, for which a sixteenth is meant. Small tables are for all. */
static uint64_t share_away(uint64_t sessions, uint32_t engines)
{
	enum { SMALL = 4096 };
	uint64_t away = sessions - sessions / engines + sessions / 16;

	away = away < SMALL ? SMALL : away;
	return away < sessions ? away : sessions;
}

struct arena_geometry arena_plan(const struct config *c)
{
	uint32_t engines = c->arena.engines;
	uint64_t sessions = c->arena.sessions;
	uint32_t tables = config_address_count(c) * 2 + 16; /* pools may grow live */
	uint64_t subscribers = c->arena.subscribers;

	return (struct arena_geometry){
		.engines = engines,
		.sessions = c->arena.sessions,
		.pages = at_most((uint32_t)(sessions / slab_per_page(SLAB_session)) +
				 engines * (3 + tables / slab_per_page(SLAB_port_view)) +
				 tables / slab_per_page(SLAB_port_table) + 2 + subscriber_pages(subscribers, engines)),
		.local_buckets = buckets_for(share_of_engine(sessions, engines), LOCAL_ENTRIES, LOCALS_LOAD),
		.global_buckets = buckets_for(share_away(sessions, engines), GLOBAL_ENTRIES, SESSIONS_LOAD),
		.mapping_buckets = buckets_for(sessions, GLOBAL_ENTRIES, SESSIONS_LOAD),
		.subscribers = c->arena.subscribers,
		.subscriber_buckets = buckets_for(subscribers, GLOBAL_ENTRIES, SUBSCRIBERS_LOAD),
		.part_buckets = buckets_for(subscribers, LOCAL_ENTRIES, SUBSCRIBERS_LOAD),
	};
}

/* ---- attach distrusts ---- */

static bool geometry_valid(const struct arena_geometry *g)
{
	return g->engines >= 1 && g->engines <= ENGINE_MAX && g->pages >= 1 && g->pages <= ARENA_PAGES_MAX &&
	       g->local_buckets && g->global_buckets && g->mapping_buckets && g->subscriber_buckets && g->part_buckets;
}

bool arena_header_valid(const struct arena_header *h, uint64_t mapped, struct arena_error *err)
{
	struct arena_span span[N_ARENA_REGIONS];

	if (mapped < sizeof *h || atomic_load_explicit(&h->magic, memory_order_acquire) != ARENA_MAGIC)
		return refuse(err, "not a CoreNAT arena (no magic number); remove it with "
				   "`corenatctl arena remove`");
	if (h->version_major != ARENA_VERSION_MAJOR || h->layout != arena_layout())
		return refuse(err,
			"arena has layout %u.%u (%08x), this program needs %u.%u (%08x): stop all "
			"processes of the other version and remove it with `corenatctl arena remove`; "
			"its sessions are lost",
			h->version_major, h->version_minor, h->layout, ARENA_VERSION_MAJOR, ARENA_VERSION_MINOR,
			arena_layout());
	if (h->bytes != mapped)
		return refuse(err, "arena is truncated: %llu bytes where its header says %llu",
			(unsigned long long)mapped, (unsigned long long)h->bytes);
	if (!geometry_valid(&h->geometry) || h->nodes < 1 || h->nodes > NUMA_NODES ||
		layout_regions(&h->geometry, span) != mapped || memcmp(span, h->region, sizeof span) != 0)
		return refuse(err, "arena header contradicts itself: remove it with "
				   "`corenatctl arena remove`");
	return true;
}

/* ---- making ---- */

/* Tells which pages the kernel really gave, for the log. */
static void find_backing(struct arena *a)
{
	char line[256];
	unsigned long long from = 0, to = 0, kib = 0, total = MIB(a->bytes);
	bool mine = false;
	FILE *f = fopen("/proc/self/smaps", "re");

	while (f && fgets(line, sizeof line, f)) {
		if (sscanf(line, "%llx-%llx ", &from, &to) == 2 && strchr(line, '-') < strchr(line, ' '))
			mine = from == (uintptr_t)a->base;
		else if (mine && sscanf(line, "ShmemPmdMapped: %llu kB", &kib) == 1)
			break;
	}
	if (f)
		fclose(f);
	if (mine && kib)
		snprintf(a->backing_text, sizeof a->backing_text, "huge pages (%llu of %llu MiB)", MIB(kib << 10),
			total);
	else
		snprintf(a->backing_text, sizeof a->backing_text, "4 KiB pages (%llu MiB)", total);
	a->backing = a->backing_text;
}

static bool is_huge(const struct arena *a)
{
	return strncmp(a->backing, "huge", 4) == 0;
}

/* Said with the backing. */
static void tell_nodes(struct arena *a)
{
	size_t used = strlen(a->backing_text);

	if (a->nodes > 1 && !strchr(a->backing_text, ','))
		snprintf(a->backing_text + used, sizeof a->backing_text - used, ", spread over %u nodes", a->nodes);
}

/* What is copied out of a header that is sound: nobody who writes to it later can lead this process astray. */
static void note_pages(struct arena *a)
{
	a->pages = arena_region(a, ARENA_pages);
	a->pages_bytes = a->header->region[ARENA_pages].bytes;
	a->nodes = a->header->nodes;
	tell_nodes(a);
}

static void header_fill(
	struct arena_header *h, const struct arena_geometry *g, uint64_t bytes, uint64_t seed, uint32_t nodes)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	h->version_major = ARENA_VERSION_MAJOR;
	h->version_minor = ARENA_VERSION_MINOR;
	h->layout = arena_layout();
	h->bytes = bytes;
	h->seed = seed;
	h->nodes = nodes;
	h->geometry = *g;
	h->created_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	layout_regions(g, h->region);
}

/* Aligned to 2 MiB so that huge pages can be mapped as such. */
static void *map_aligned(int fd, uint64_t bytes)
{
	int flags = fd < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED;
	uint8_t *room = mmap(NULL, bytes + ARENA_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (room == MAP_FAILED)
		return MAP_FAILED;
	uint8_t *at = (uint8_t *)align((uintptr_t)room, ARENA_PAGE);
	void *p = mmap(at, bytes, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd, 0);

	if (p == MAP_FAILED) {
		munmap(room, bytes + ARENA_PAGE);
		return MAP_FAILED;
	}
	munmap(room, (size_t)(at - room));
	munmap(at + bytes, (size_t)(room + ARENA_PAGE - at));
	return p;
}

/* Every page is taken now: an engine must never meet a full /dev/shm on the packet path (SIGBUS). */
static bool populate(struct arena *a, enum huge_pages huge, struct arena_error *err)
{
	struct statvfs fs; /* asked before: a failed attempt fills what there is */
	uint64_t room = a->fd >= 0 && fstatvfs(a->fd, &fs) == 0 ? fs.f_bavail * fs.f_bsize : 0;

	if (huge != HUGE_OFF)
		madvise(a->base, a->bytes, MADV_HUGEPAGE);
	if (madvise(a->base, a->bytes, MADV_POPULATE_WRITE) != 0)
		return refuse(err,
			"no room for the arena: %llu MiB wanted, about %llu MiB are there; lower "
			"arena.sessions or enlarge /dev/shm",
			(unsigned long long)MIB(a->bytes), (unsigned long long)MIB(room));
	find_backing(a);
	if (huge == HUGE_REQUIRED && !is_huge(a))
		return refuse(err,
			"arena.huge_pages is \"required\" but the system gave %s; mount /dev/shm with "
			"huge=advise, or say \"auto\"",
			a->backing);
	return true;
}

/* `c`: of engines that run for real; NULL: nobody says where. */
static bool make(struct arena *a, const struct arena_geometry *g, const struct config *c, uint64_t seed,
	enum huge_pages huge, struct arena_error *err)
{
	struct arena_span span[N_ARENA_REGIONS];
	struct numa numa = {.n = 1};

	a->bytes = layout_regions(g, span);
	if (a->fd >= 0 && (ftruncate(a->fd, 0) != 0 || ftruncate(a->fd, (off_t)a->bytes) != 0))
		return refuse(err, "cannot size the arena %s to %llu MiB: %s", a->name,
			(unsigned long long)MIB(a->bytes), strerror(errno));
	a->base = map_aligned(a->fd, a->bytes);
	if (a->base == MAP_FAILED)
		return refuse(err, "cannot map %llu MiB for the arena: %s", (unsigned long long)MIB(a->bytes),
			strerror(errno));
	a->header = (struct arena_header *)a->base;
	if (c)
		numa_look(&numa, NUMA_SYSFS);
	uint32_t nodes = arena_spread(a->base, g, span, c, &numa, NUMA_SYSFS);
	if (!populate(a, huge, err))
		return false;
	header_fill(a->header, g, a->bytes, seed, nodes);
	note_pages(a);
	if (a->fd >= 0) /* threads of one process stall nobody */
		slab_cut_for_sessions(a);
	atomic_store_explicit(&a->header->magic, ARENA_MAGIC, memory_order_release); /* others may have it now */
	return true;
}

/* ---- opening ---- */

static bool map_existing(struct arena *a, uint64_t size, struct arena_error *err)
{
	a->bytes = size;
	a->base = map_aligned(a->fd, size);
	if (a->base == MAP_FAILED)
		return refuse(err, "cannot map the arena %s: %s", a->name, strerror(errno));
	a->header = (struct arena_header *)a->base;
	if (!arena_header_valid(a->header, size, err))
		return false;
	note_pages(a);
	madvise(a->base, a->bytes, MADV_HUGEPAGE);
	find_backing(a);
	return true;
}

/* What an arena is made of is decided by its maker, whose configuration may have said something else. */
static bool backing_right(struct arena *a, enum huge_pages huge, struct arena_error *err)
{
	if (huge != HUGE_REQUIRED)
		return true;
	madvise(a->base, a->bytes, MADV_POPULATE_READ); /* what is not mapped yet does not count as huge */
	find_backing(a);
	if (is_huge(a))
		return true;
	return refuse(err,
		"arena.huge_pages is \"required\" but the arena %s was made of %s: stop all processes and remove "
		"it with `corenatctl arena remove`, so that it is made anew (its sessions are lost), or say \"auto\"",
		a->name, a->backing);
}

/* True when the object holds a finished arena; false when it is new, or its maker died before the magic. */
static bool has_magic(int fd)
{
	uint64_t magic = 0;

	return pread(fd, &magic, sizeof magic, 0) == (ssize_t)sizeof magic && magic != 0;
}

static struct arena *arena_new(const char *name, int fd)
{
	struct arena *a = calloc(1, sizeof *a);

	if (!a)
		abort();
	snprintf(a->name, sizeof a->name, "%s", name);
	a->fd = fd;
	a->base = MAP_FAILED;
	return a;
}

static bool owner_right(int fd, const char *name, struct stat *st, struct arena_error *err)
{
	if (fstat(fd, st) != 0)
		return refuse(err, "cannot look at the arena %s: %s", name, strerror(errno));
	if (st->st_uid != geteuid())
		return refuse(
			err, "arena %s belongs to user %u, this process runs as user %u", name, st->st_uid, geteuid());
	return true;
}

struct arena *arena_open(const struct config *c, struct arena_error *err)
{
	struct arena_geometry g = arena_plan(c);
	struct stat st;
	uint64_t seed;
	int fd = shm_open(c->arena.name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	bool ours, ok;

	if (fd < 0) {
		refuse(err, "cannot open the arena %s: %s", c->arena.name, strerror(errno));
		return NULL;
	}
	struct arena *a = arena_new(c->arena.name, fd);

	flock(fd, LOCK_EX);
	ok = ours = owner_right(fd, a->name, &st, err);
	if (ok && has_magic(fd))
		ok = map_existing(a, (uint64_t)st.st_size, err) && backing_right(a, c->arena.huge_pages, err);
	else if (ok)
		ok = getrandom(&seed, sizeof seed, 0) == sizeof seed && make(a, &g, c, seed, c->arena.huge_pages, err);
	if (!ok && ours && !has_magic(fd))
		(void)!ftruncate(fd, 0); /* what cannot be finished takes no room */
	flock(fd, LOCK_UN);
	if (ok)
		return a;
	arena_close(a);
	return NULL;
}

/* Waits while somebody makes it; the lock says so (arena_open). Between creating the object and locking it a maker looks
 * like a dead one: that is looked at for a second. */
static bool is_made(int fd, const char *name, struct arena_error *err)
{
	for (unsigned look = 0, unlocked = 0; look < ATTACH_LOOKS; look++) {
		if (has_magic(fd))
			return true;
		bool locked = flock(fd, LOCK_SH | LOCK_NB) != 0;

		if (!locked)
			flock(fd, LOCK_UN);
		unlocked = locked ? 0 : unlocked + 1;
		if (unlocked >= DEAD_LOOKS && !has_magic(fd))
			return refuse(
				err, "arena %s is empty: its maker died, and the next engine makes it anew", name);
		nanosleep(&(struct timespec){.tv_nsec = ATTACH_PAUSE_NS}, NULL);
	}
	return refuse(err, "arena %s is still being made; try again in a moment", name);
}

struct arena *arena_attach(const char *name, struct arena_error *err)
{
	struct stat st;
	int fd = shm_open(name, O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0) {
		refuse(err, "no arena %s: %s", name, strerror(errno));
		return NULL;
	}
	struct arena *a = arena_new(name, fd);

	/* Its size only counts once it is made. */
	if (owner_right(fd, name, &st, err) && is_made(fd, name, err) && owner_right(fd, name, &st, err) &&
		map_existing(a, (uint64_t)st.st_size, err))
		return a;
	arena_close(a);
	return NULL;
}

struct arena *arena_open_private(const struct arena_geometry *g, uint64_t seed, struct arena_error *err)
{
	struct arena *a = arena_new("private", -1);

	if (make(a, g, NULL, seed, HUGE_AUTO, err))
		return a;
	arena_close(a);
	return NULL;
}

void arena_settle(struct arena *a, unsigned cpu)
{
	struct numa numa;

	numa_look(&numa, NUMA_SYSFS);
	if (a->nodes == numa.n)
		a->node = numa_of_cpu(&numa, NUMA_SYSFS, cpu);
	madvise(a->base, a->bytes, MADV_POPULATE_WRITE);
}

void arena_close(struct arena *a)
{
	if (!a)
		return;
	if (a->base != MAP_FAILED)
		munmap(a->base, a->bytes);
	if (a->fd >= 0)
		close(a->fd);
	free(a);
}

int arena_remove(const char *name)
{
	return shm_unlink(name) == 0 ? 0 : -errno;
}

/* ---- roles ---- */

/* Byte `slot` far behind the object's end: a lock that touches no data. */
static struct flock role_lock(unsigned slot)
{
	return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)1 << 48 | slot, .l_len = 1};
}

int arena_claim(struct arena *a, unsigned slot)
{
	struct flock lock = role_lock(slot);

	if (a->fd < 0 || fcntl(a->fd, F_OFD_SETLK, &lock) == 0)
		return 0;
	return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
}

void arena_unclaim(struct arena *a, unsigned slot)
{
	struct flock lock = role_lock(slot);

	lock.l_type = F_UNLCK;
	if (a->fd >= 0)
		fcntl(a->fd, F_OFD_SETLK, &lock);
}

bool arena_claimed(const struct arena *a, unsigned slot)
{
	struct flock lock = role_lock(slot);

	return a->fd >= 0 && fcntl(a->fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}
