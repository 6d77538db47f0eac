/* Replaces C11's atomic operations by ones that hand over to the explorer first. Include after every header and before the
 * source file under test. */
#include "explore.h"

#undef atomic_load_explicit
#undef atomic_store_explicit
#undef atomic_exchange_explicit
#undef atomic_compare_exchange_strong_explicit
#undef atomic_compare_exchange_weak_explicit

#define EXPLORE_ATOMICS

#define atomic_load_explicit(p, order)                                                                                 \
	__extension__({                                                                                                \
		__auto_type at_ = (p);                                                                                 \
		__typeof__((void)0, *at_) is_;                                                                         \
		explore_point();                                                                                       \
		__atomic_load(at_, &is_, __ATOMIC_SEQ_CST);                                                            \
		explore_saw((uint64_t)is_);                                                                            \
		is_;                                                                                                   \
	})

#define atomic_store_explicit(p, v, order)                                                                             \
	__extension__({                                                                                                \
		__auto_type at_ = (p);                                                                                 \
		__typeof__((void)0, *at_) to_ = (v);                                                                   \
		explore_point();                                                                                       \
		__atomic_store(at_, &to_, __ATOMIC_SEQ_CST);                                                           \
	})

#define atomic_exchange_explicit(p, v, order)                                                                          \
	__extension__({                                                                                                \
		__auto_type at_ = (p);                                                                                 \
		__typeof__((void)0, *at_) to_ = (v), was_;                                                             \
		explore_point();                                                                                       \
		__atomic_exchange(at_, &to_, &was_, __ATOMIC_SEQ_CST);                                                 \
		explore_saw((uint64_t)was_);                                                                           \
		was_;                                                                                                  \
	})

#define atomic_compare_exchange_strong_explicit(p, expected, v, order, failed)                                         \
	__extension__({                                                                                                \
		__auto_type at_ = (p);                                                                                 \
		__typeof__((void)0, *at_) to_ = (v);                                                                   \
		explore_point();                                                                                       \
		bool did_ = __atomic_compare_exchange(at_, (expected), &to_, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);   \
		explore_saw((uint64_t) * (expected)*2 + did_);                                                         \
		did_;                                                                                                  \
	})
#define atomic_compare_exchange_weak_explicit atomic_compare_exchange_strong_explicit

#define __builtin_ia32_pause explore_pause
