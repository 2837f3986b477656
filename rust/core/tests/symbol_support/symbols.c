/* Symbols of every kind that nm has a letter for, as far as a C compiler makes them without headers. */
int data = 1, common_or_bss;
const int constant = 2;
static int local_data __attribute__((used)) = 3, local_bss __attribute__((used));
static const int local_constant __attribute__((used)) = 4;
__attribute__((weak)) int weak_data = 5;
__attribute__((common)) int common;
__thread int thread_data = 6, thread_bss;
__attribute__((section("notes"))) int own_section = 7;
extern int undefined;
extern __attribute__((weak)) int weak_undefined;

static int local_function(int x) { return x + undefined; }
__attribute__((weak)) int weak_function(int x) { return local_function(x) + local_function(x + 1); }
int function(int x) { return weak_function(x) + thread_data + thread_bss + (&weak_undefined != 0); }
int alias(int x) __attribute__((alias("function")));
__asm__(".globl absolute\nabsolute = 0x1234\nlocal_absolute = 0x77\n");
#ifdef GNU
static int chosen(int x) { return x; }
static int (*resolve(void))(int) { return chosen; }
int indirect(int x) __attribute__((ifunc("resolve")));
__asm__(".pushsection .data.unique,\"aw\"\n.globl unique\n.type unique, @gnu_unique_object\nunique: .long 8\n"
	".size unique, 4\n.popsection\n");
__asm__(".pushsection .debug_own,\"\"\nin_debug: .long 1\n.popsection\n");
__asm__(".pushsection own_note,\"\"\nin_note: .long 1\n.popsection\n");
#endif
