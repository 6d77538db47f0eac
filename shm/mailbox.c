#include "shm/mailbox.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <xxhash.h>

enum {
	MODE = 0600,
	OPEN_TRIES = 16, /* a segment may vanish between "exists" and "get it" */
};

/* ---- identity ---- */

static key_t key_of(const char *arena_name, unsigned engine)
{
	key_t key = (key_t)XXH3_64bits_withSeed(arena_name, strlen(arena_name), engine);

	return key == IPC_PRIVATE ? 1 : key;
}

/* Differs whenever two builds would read each other's reports wrongly. */
static uint32_t layout_hash(void)
{
	uint64_t h = XXH3_64bits_withSeed("mailbox", 7, MAILBOX_VERSION ^ sizeof(struct mailbox));

	for (unsigned i = 0; i < N_COUNTERS; i++)
		h = XXH3_64bits_withSeed(counter_info[i].name, strlen(counter_info[i].name), h + counter_info[i].kind);
	for (unsigned i = 0; i < N_VERDICTS; i++)
		h = XXH3_64bits_withSeed(verdict_info[i].name, strlen(verdict_info[i].name), h);
	return (uint32_t)(h ^ h >> 32);
}

static uint64_t stamp_of_this_build(void)
{
	return (uint64_t)layout_hash() << 32 | MAILBOX_MAGIC;
}

/* ---- make, check ---- */

/* Any number of makers may run this at once on the same segment: all write the same bytes. */
static void finish_making(struct mailbox *box, const char *arena_name, unsigned engine)
{
	uint64_t none = 0;

	memcpy(box->arena, arena_name, strlen(arena_name));
	box->engine = engine;
	atomic_compare_exchange_strong_explicit(
		&box->stamp, &none, stamp_of_this_build(), memory_order_release, memory_order_acquire);
}

static bool is_zero(const void *p, size_t size)
{
	const unsigned char *b = p;

	return size == 0 || (b[0] == 0 && memcmp(b, b + 1, size - 1) == 0);
}

/* 0, EEXIST, EPROTO; EAGAIN for a segment that its maker has not finished. */
static int check(const struct mailbox *box, size_t size, const char *arena_name, unsigned engine)
{
	uint64_t stamp;

	if (size < offsetof(struct mailbox, report))
		return EEXIST;
	stamp = atomic_load_explicit(&box->stamp, memory_order_acquire);
	if (stamp == 0 && size == sizeof *box && is_zero(&box->report, sizeof box->report))
		return EAGAIN;
	if ((uint32_t)stamp != MAILBOX_MAGIC || box->engine != engine ||
		strncmp(box->arena, arena_name, sizeof box->arena) != 0)
		return EEXIST;
	return stamp == stamp_of_this_build() && size == sizeof *box ? 0 : EPROTO;
}

/* ---- attach ---- */

/* The id of the segment under the key, made when absent; -errno, -EAGAIN when it vanished
 * meanwhile. */
static int segment_find_or_make(key_t key)
{
	int id = shmget(key, sizeof(struct mailbox), IPC_CREAT | IPC_EXCL | MODE);

	if (id < 0 && errno == EEXIST)
		id = shmget(key, 0, 0);
	if (id < 0)
		return errno == ENOENT || errno == EIDRM ? -EAGAIN : -errno;
	return id;
}

static int attach(int id, struct mailbox **box, size_t *size)
{
	struct shmid_ds stat;
	void *at = shmat(id, NULL, 0);

	if (at == (void *)-1)
		return errno == EIDRM || errno == EINVAL ? EAGAIN : errno;
	*box = at;
	if (shmctl(id, IPC_STAT, &stat) < 0) {
		shmdt(at);
		return EAGAIN; /* removed under our feet */
	}
	*size = stat.shm_segsz;
	return 0;
}

static int open_once(struct mailbox **out, const char *arena_name, unsigned engine)
{
	struct mailbox *box;
	size_t size;
	int id = segment_find_or_make(key_of(arena_name, engine)), err;

	if (id < 0)
		return -id;
	err = attach(id, &box, &size);
	if (err)
		return err;
	err = check(box, size, arena_name, engine);
	if (err == EAGAIN) {
		finish_making(box, arena_name, engine);
		err = check(box, size, arena_name, engine);
	}
	if (err)
		shmdt(box);
	else
		*out = box;
	return err;
}

struct mailbox *mailbox_open(const char *arena_name, unsigned engine)
{
	struct mailbox *box = NULL;
	int err = EAGAIN;

	if (strlen(arena_name) >= MAILBOX_NAME_SIZE) {
		errno = ENAMETOOLONG;
		return NULL;
	}
	for (int i = 0; i < OPEN_TRIES && err == EAGAIN; i++)
		err = open_once(&box, arena_name, engine);
	errno = err;
	return box;
}

void mailbox_close(struct mailbox *box)
{
	if (box)
		shmdt(box);
}

int mailbox_remove(const char *arena_name, unsigned engine)
{
	struct mailbox *box;
	size_t size;
	int id = shmget(key_of(arena_name, engine), 0, 0), err;

	if (id < 0)
		return -errno;
	err = attach(id, &box, &size);
	if (err)
		return err == EAGAIN ? -ENOENT : -err;
	err = check(box, size, arena_name, engine);
	shmdt(box);
	if (err == EEXIST)
		return -EEXIST; /* never delete a stranger's memory */
	return shmctl(id, IPC_RMID, NULL) < 0 ? -errno : 0;
}

const char *mailbox_explain(int error)
{
	switch (error) {
	case EEXIST:
		return "its shared-memory key belongs to something else (see ipcs -m); choose "
		       "another arena.name";
	case EPROTO:
		return "it was made by another version; stop all processes and run corenatctl "
		       "arena remove";
	case EACCES:
	case EPERM:
		return "it belongs to another user";
	case ENOSPC:
	case ENOMEM:
		return "the system allows no more SysV shared memory (kernel.shmmni, "
		       "kernel.shmall)";
	default:
		return strerror(error);
	}
}

/* ---- the two sides ---- */

static void pass_turn(struct mailbox *box, enum mailbox_turn to)
{
	atomic_store_explicit(&box->turn, to, memory_order_release);
}

void mailbox_write(struct mailbox *box, const struct engine_report *report)
{
	assert(mailbox_requested(box));
	box->report = *report;
	pass_turn(box, MAILBOX_WRITTEN);
}

void mailbox_reset(struct mailbox *box)
{
	if (!mailbox_requested(box))
		pass_turn(box, MAILBOX_IDLE);
}

bool mailbox_request(struct mailbox *box, enum mailbox_command command)
{
	if (atomic_load_explicit(&box->turn, memory_order_acquire) != MAILBOX_IDLE)
		return false;
	box->command = command;
	pass_turn(box, MAILBOX_REQUESTED);
	return true;
}

bool mailbox_take(struct mailbox *box, struct engine_report *out)
{
	if (atomic_load_explicit(&box->turn, memory_order_acquire) != MAILBOX_WRITTEN)
		return false;
	*out = box->report;
	pass_turn(box, MAILBOX_IDLE);
	return true;
}
