/*
 * What differs between user space and BPF below the core: atomics, and how a frame's length changes. Bounded frame
 * access is in cursor.h, section access in access.h.
 */
#ifndef FL_PLATFORM_H
#define FL_PLATFORM_H

#include "types.h"

#ifdef __bpf__

#define FL_STEERS 0 /* whichever processor a frame comes to decides it */

/* BPF atomics are sequentially consistent; plain loads and stores of aligned words are whole. */
#define fl_load(pointer) (*(volatile typeof(*(pointer)) *)(pointer))
#define fl_store(pointer, value) (*(volatile typeof(*(pointer)) *)(pointer) = (value))
#define fl_swap_if(pointer, old, new) (__sync_val_compare_and_swap(pointer, old, new) == (old))
#define fl_add(pointer, value) __sync_fetch_and_add(pointer, value)
#define fl_prefetch(pointer) ((void)(pointer))
#define fl_reads_before() asm volatile("" ::: "memory")
/* The compiler shall not know this value: where it does, it makes a branch of arithmetic that was written to be none. */
#define fl_hide(value) asm volatile("" : "+r"(value))

/* Bits set in the low 16. clang 14 has neither popcount nor ctz for BPF. */
FL_INLINE u32 fl_popcount16(u32 bits)
{
	bits -= bits >> 1 & 0x5555;
	bits = (bits & 0x3333) + (bits >> 2 & 0x3333);
	bits = (bits + (bits >> 4)) & 0x0f0f;
	return (bits + (bits >> 8)) & 0x1f;
}

/* The lowest bit set, of the low 16; 16 when none is. */
FL_INLINE u32 fl_lowest_bit(u32 bits)
{
	return fl_popcount16((bits & -bits) - 1);
}

#else

#define FL_STEERS 1 /* both directions of a flow come to one worker */

#define fl_popcount16(bits) ((u32)__builtin_popcount((bits)&0xffff))
#define fl_lowest_bit(bits) ((u32)__builtin_ctz((bits) | 0x10000))

#define fl_load(pointer) __atomic_load_n(pointer, __ATOMIC_ACQUIRE)
#define fl_store(pointer, value) __atomic_store_n(pointer, value, __ATOMIC_RELEASE)
#define fl_swap_if(pointer, old, new)                                                                           \
	__extension__({                                                                                         \
		typeof(*(pointer)) fl_expected = (old);                                                         \
		__atomic_compare_exchange_n(pointer, &fl_expected, new, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
	})
#define fl_add(pointer, value) __atomic_fetch_add(pointer, value, __ATOMIC_RELAXED)
#define fl_prefetch(pointer) __builtin_prefetch(pointer)
#define fl_reads_before() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define fl_hide(value) ((void)(value))

#endif

/* 1 for zero, 0 for anything else, without a branch: in BPF each branch in a loop doubles what the verifier walks. */
FL_INLINE u32 fl_is_zero(u64 value)
{
	u64 negative = -value;

	fl_hide(negative);
	return (u32)((value | negative) >> 63) ^ 1;
}

#endif
