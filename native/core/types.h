/* Integer names and byte order for code that has no libc: the same text serves cc and clang -target bpf. */
#ifndef FL_TYPES_H
#define FL_TYPES_H

typedef __UINT8_TYPE__ u8;
typedef __UINT16_TYPE__ u16;
typedef __UINT32_TYPE__ u32;
typedef __UINT64_TYPE__ u64;

#ifndef NULL
#define NULL ((void *)0)
#endif

#define FL_INLINE static inline __attribute__((always_inline, unused))
/* A function of its own in BPF, where the stack of one frame and the verifier's patience are short; at most five
 * arguments. In user space the compiler decides. */
#ifdef __bpf__
#define FL_CALL static __attribute__((noinline, unused))
#else
#define FL_CALL static inline __attribute__((unused))
#endif

#define FL_LIKELY(x) __builtin_expect(!!(x), 1)
#define FL_UNLIKELY(x) __builtin_expect(!!(x), 0)

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "fairlead is built and tested on little-endian machines only"
#endif

#define FL_BE16(x) ((u16)__builtin_bswap16((u16)(x)))
#define FL_BE32(x) ((u32)__builtin_bswap32((u32)(x)))

/* An address in network order. IPv4 uses word[0]; the rest is zero. */
struct fl_addr {
	u32 word[4];
};

FL_INLINE int fl_addr_same(const struct fl_addr *a, const struct fl_addr *b)
{
	return ((a->word[0] ^ b->word[0]) | (a->word[1] ^ b->word[1]) | (a->word[2] ^ b->word[2]) |
		(a->word[3] ^ b->word[3])) == 0;
}

#endif
