/* Types of many shapes; the compiler's own offsets and sizes stand beside them. */
#include "bench.h"

#define offset(type, member) __builtin_offsetof(type, member)

enum small { ONE = 1, MINUS = -1 };
enum { ANONYMOUS_VALUE = 0x7fffffff };
enum wide { WIDE = 0x123456789abcdefULL };
typedef const volatile u16 qualified_t;

struct inner {
	s8 a;
	u64 b;
};

struct shape {
	u8 byte;
	struct {
		u16 in_anonymous;
		union {
			u64 wide;
			struct {
				s32 low;
				float high;
			};
			char text[12];
		};
	};
	qualified_t qualified;
	struct inner nested[3];
	u32 first : 3;
	s32 second : 29;
	u64 third : 40;
	enum small small;
	enum wide wide_enum;
	_Bool truth;
	void *pointer;
	int (*function)(struct inner *, const char *, ...);
	u32 matrix[2][3];
	double d;
	__int128 huge;
	struct shape *next;
	u16 tail[];
} __attribute__((aligned(16)));

struct packed {
	u8 a;
	u64 b;
	u16 c;
} __attribute__((packed));

union either {
	u32 number;
	u8 bytes[6];
};

struct shape shape;
struct packed packed;
union either either = {1};
enum wide wide = WIDE;

const volatile u32 offsets[] = {
	offset(struct shape, byte), offset(struct shape, in_anonymous), offset(struct shape, wide),
	offset(struct shape, low), offset(struct shape, high), offset(struct shape, text),
	offset(struct shape, qualified), offset(struct shape, nested), offset(struct shape, small),
	offset(struct shape, wide_enum), offset(struct shape, truth), offset(struct shape, pointer),
	offset(struct shape, function), offset(struct shape, matrix), offset(struct shape, d),
	offset(struct shape, huge), offset(struct shape, next), offset(struct shape, tail),
};
const volatile u32 sizes[] = {
	sizeof(struct shape), sizeof(struct packed), sizeof(union either), sizeof(enum wide), sizeof(struct inner),
};
const volatile struct shape bits = {.first = 5, .second = -7, .third = 0x123456789aULL};

SEC("tp/vmm/a")
int program(void *ctx)
{
	return shape.byte + packed.a + either.number + (wide == WIDE) + offsets[0] + sizes[0] + bits.first +
	       (int)ANONYMOUS_VALUE;
}
