/* SPDX-License-Identifier: GPL-3.0-or-later OR Apache-2.0
 *
 * Histograms in powers of two: slot n counts values of 2^n to 2^(n+1) - 1.
 */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#define SLOTS 32 /* slot 0 takes 0 too; the last slot takes everything from 2^31, which as ns is 2.1 s */

struct histogram {
	__u64 slots[SLOTS];
};

/* The slot of a value, by halving what is left of it: five steps without a loop or a branch. */
static __always_inline __u32 log2_slot(__u64 value)
{
	__u32 v = value >> 32 ? ~0U : (__u32)value;
	__u32 slot, shift;

	slot = (v > 0xffff) << 4;
	v >>= slot;
	shift = (v > 0xff) << 3;
	v >>= shift;
	slot |= shift;
	shift = (v > 0xf) << 2;
	v >>= shift;
	slot |= shift;
	shift = (v > 0x3) << 1;
	v >>= shift;
	slot |= shift;
	slot |= v >> 1;
	/* Below SLOTS as it is; the mask shows that to a verifier which does not follow the shifts. */
	return slot & (SLOTS - 1);
}

#endif
