/* Maps of every kind, with keys and values of every kind of type. */
enum color { RED = 1, GREEN = 2 };
struct inner { __u16 a; __s8 b; };
union either { __u32 word; __u8 bytes[4]; struct inner parts; };
struct value {
	struct inner nested;
	char comm[16];
	__u32 low : 5;
	__s32 mid : 7;
	__u32 high : 20;
	union either either;
	__u64 array[3];
	_Bool flag;
	enum color color;
	__s64 minus;
	void *pointer;
};
struct key { __u32 vm; __u16 port; } __attribute__((packed));

#define MAP(name, kind, entries, key_type, value_type)	\
	struct {					\
		__uint(type, kind);			\
		__uint(max_entries, entries);		\
		__type(key, key_type);			\
		__type(value, value_type);		\
	} name SEC(".maps")

typedef char name_t[8];

MAP(TABLE, BPF_MAP_TYPE_HASH, 8, struct key, struct value);
MAP(COLORS, BPF_MAP_TYPE_HASH, 8, enum color, enum color);
MAP(ARRAY, BPF_MAP_TYPE_ARRAY, 4, __u32, struct inner);
MAP(EACH, BPF_MAP_TYPE_PERCPU_ARRAY, 2, __u32, struct inner);
MAP(NAMES, BPF_MAP_TYPE_PERCPU_HASH, 4, name_t, __u64);
MAP(RECENT, BPF_MAP_TYPE_LRU_HASH, 2, __u32, __u32);

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 2);
	__type(value, struct inner);
} QUEUE SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, 2);
	__type(value, __u32);
} STACK SEC(".maps");

/* What clang lays out: sizes and offsets, for the test to compare with. */
const volatile __u32 layout[] = {
	sizeof(struct value), __builtin_offsetof(struct value, comm), __builtin_offsetof(struct value, either),
	__builtin_offsetof(struct value, array), __builtin_offsetof(struct value, flag),
	__builtin_offsetof(struct value, color), __builtin_offsetof(struct value, minus),
	__builtin_offsetof(struct value, pointer),
};

/* The program's own view of an entry: it writes what the test reads, and reads what the test wrote. */
__u64 low, mid, high, nested_b, word, last, minus;

SEC("mem/fill") int fill(void *ctx)
{
	struct key key = { .vm = 7, .port = 443 };
	struct value value = {
		.nested = { 500, -5 }, .comm = "guest", .low = 17, .mid = -33, .high = 0x54321, .either.word = 0xdeadbeef,
		.array = { 1, 2, ~0ULL }, .flag = 1, .color = GREEN, .minus = -1, .pointer = (void *)0x1000,
	};

	return bpf_map_update_elem(&TABLE, &key, &value, BPF_ANY);
}

SEC("mem/read") int read(void *ctx)
{
	struct key key = { .vm = 7, .port = 443 };
	struct value *value = bpf_map_lookup_elem(&TABLE, &key);

	if (!value)
		return 1;
	low = value->low;
	mid = value->mid;
	high = value->high;
	nested_b = value->nested.b;
	word = value->either.word;
	last = value->array[2];
	minus = value->minus;
	return 0;
}

SEC("mem/count") int count(void *ctx)
{
	__u32 zero = 0;
	struct inner *inner = bpf_map_lookup_elem(&EACH, &zero);

	if (inner)
		inner->a++;
	return 0;
}
