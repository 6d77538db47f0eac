#include "shm/shared_slab.h"

enum { SPINS = 1 << 20 };

static struct slab *slab_of(const struct arena *a, enum slab_class c)
{
	assert(slab_whose[c] == SLABS_shared);
	return &actor_of(a, ACTOR_SHARED)->slab[c];
}

/* A private arena has no claims to look at: its users are threads, and die together. */
static bool is_dead(const struct arena *a, uint32_t holder)
{
	return a->fd >= 0 && !arena_claimed(a, holder - 1);
}

enum { HOLDER = 0xff, INHERITED = 0x100 };
_Static_assert((int)ACTOR_MAX < (int)HOLDER, "fits");

/* Who inherits makes the word another one: whoever found the same holder dead, and was slower, does not get it as well, even
 * when it is the dead one's successor that was faster. */
static bool lock(struct arena *a, struct slab *s, unsigned actor, enum slab_class c)
{
	for (int spin = 0; spin < SPINS; spin++) {
		uint32_t word = atomic_load_explicit(&s->lock, memory_order_relaxed), holder = word & HOLDER;
		bool inherit = holder != 0 && (holder == actor + 1 || (spin % 1024 == 0 && is_dead(a, holder)));

		uint32_t mine = (inherit ? (word & ~(uint32_t)HOLDER) + INHERITED : 0) | (actor + 1);

		if ((holder == 0 || inherit) && atomic_compare_exchange_strong_explicit(&s->lock, &word, mine,
							memory_order_acquire, memory_order_relaxed)) {
			if (inherit)
				slab_attach(a, s, ACTOR_SHARED, c, NULL, NULL);
			return true;
		}
		__builtin_ia32_pause();
	}
	return false;
}

static void unlock(struct slab *s)
{
	atomic_store_explicit(&s->lock, 0, memory_order_release);
}

uint32_t shared_make(struct arena *a, unsigned actor, enum slab_class c, shared_build build, void *context)
{
	struct slab *s = slab_of(a, c);

	if (!lock(a, s, actor, c))
		return 0;
	uint32_t index = slab_take(a, s, ACTOR_SHARED, c);
	if (index) {
		void *object = slab_pointer(a, c, index);

		build(object, context);
		slab_publish(object);
	}
	unlock(s);
	return index;
}

void shared_repair(struct arena *a, unsigned actor)
{
	for (int c = 0; c < N_SLAB_CLASSES; c++) {
		if (slab_whose[c] != SLABS_shared)
			continue;
		struct slab *s = slab_of(a, (enum slab_class)c);

		if ((atomic_load_explicit(&s->lock, memory_order_relaxed) & HOLDER) == actor + 1 &&
			lock(a, s, actor, (enum slab_class)c))
			unlock(s);
	}
}

bool shared_drop(struct arena *a, unsigned actor, enum slab_class c, uint32_t index)
{
	struct slab *s = slab_of(a, c);

	if (!lock(a, s, actor, c))
		return false;
	slab_put(a, s, c, index);
	unlock(s);
	return true;
}
