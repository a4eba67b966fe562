/*
 * What differs between user space and BPF below the core: atomics, and how a frame's length changes. Bounded frame
 * access is in cursor.h, section access in access.h.
 */
#ifndef FL_PLATFORM_H
#define FL_PLATFORM_H

#include "types.h"

#ifdef __bpf__

/* BPF atomics are sequentially consistent; plain loads and stores of aligned words are whole. */
#define fl_load(pointer) (*(volatile typeof(*(pointer)) *)(pointer))
#define fl_store(pointer, value) (*(volatile typeof(*(pointer)) *)(pointer) = (value))
#define fl_swap_if(pointer, old, new) (__sync_val_compare_and_swap(pointer, old, new) == (old))
#define fl_add(pointer, value) ((void)__sync_fetch_and_add(pointer, value))
#define fl_prefetch(pointer) ((void)(pointer))

#else

#define fl_load(pointer) __atomic_load_n(pointer, __ATOMIC_ACQUIRE)
#define fl_store(pointer, value) __atomic_store_n(pointer, value, __ATOMIC_RELEASE)
#define fl_swap_if(pointer, old, new)                                                              \
	__extension__({                                                                            \
		typeof(*(pointer)) fl_expected = (old);                                            \
		__atomic_compare_exchange_n(pointer, &fl_expected, new, 0, __ATOMIC_ACQ_REL,       \
					    __ATOMIC_ACQUIRE);                                     \
	})
#define fl_add(pointer, value) ((void)__atomic_fetch_add(pointer, value, __ATOMIC_RELAXED))
#define fl_prefetch(pointer) __builtin_prefetch(pointer)

#endif

#endif
